//! The `kad` program: see the library of the same package.

use std::process::ExitCode;

fn main() -> ExitCode {
    kad_eval::main()
}
