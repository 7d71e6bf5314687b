#!/usr/bin/env bash
# Installs libtorch 2.13.0 for CPU, the library of the `tch` backend, from a Python package index.
#
#   scripts/setup-libtorch.sh [DEST]        (default: .libtorch beside the workspace)
#
# Needs pip and python3 (any version) and x86_64 Linux with glibc 2.28 or later; no compiler.
# Downloads 540 MB once, keeps 490 MB in DEST, needs 1.1 GB while it runs, takes a minute. If DEST
# is already complete, it only prints the settings.
#
# There is no CPU-only wheel of libtorch. The script extracts libtorch_cpu.so and its dependencies
# from the CUDA wheel, without the GPU kernels. libtorch_cpu.so links two small CUDA libraries that
# it calls only on machines with a GPU; they come from their own wheels. Every download is checked
# against the sha256 below. Exit code 3: python3, pip or the package index is missing.
set -euo pipefail

VERSION=2.13.0
TORCH_SHA256=60fcdcb2f3876e21146cb4524ef06397d727ca9ad5f020818547e25075fe3cb7
CUDART=13.0.96
CUDART_SHA256=7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548
CUPTI=13.0.85
CUPTI_SHA256=4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8

fail() {
    echo "setup-libtorch: $*" >&2
    exit 1
}
unfetched() {
    echo "setup-libtorch: $*" >&2
    exit 3
}

root=$(cd "$(dirname "$0")/.." && pwd)
dest=${1:-$root/.libtorch}
mkdir -p "$dest"
dest=$(cd "$dest" && pwd)

print_settings() {
    cat <<EOF
libtorch $VERSION for CPU is in $dest ($(du -sh "$dest" | cut -f1)).
To build kad with it, set

  export LIBTORCH="$dest"

and then: cargo build --release --features tch
The program remembers this folder. Only if you move it, or for doctests, set also

  export LD_LIBRARY_PATH="$dest/lib\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
EOF
}

# The file `complete` is written last and holds the hashes of the libraries, so that an interrupted
# or damaged installation is detected. (torch-sys reads build-version.)
hashes() { (cd "$dest/lib" && sha256sum ./*.so*); }
if [ "$(cat "$dest/build-version" 2>/dev/null)" = "$VERSION+cpu" ] &&
    [ "$(cat "$dest/complete" 2>/dev/null)" = "$(hashes)" ]; then
    print_settings
    exit 0
fi

case "$(uname -s)-$(uname -m)" in
Linux-x86_64) ;;
*) unfetched "this script supports x86_64 Linux, not $(uname -s)-$(uname -m);" \
    "unpack libtorch $VERSION from pytorch.org and set LIBTORCH to its folder" ;;
esac
python3 -c '' || unfetched "python3 is needed"
python3 -m pip --version >/dev/null || unfetched "pip is needed: apt-get install python3-pip"

echo "setup-libtorch: fetching 540 MB into $dest" >&2
wheels="$dest/.wheels"
rm -rf "$wheels"
mkdir "$wheels"
trap 'rm -rf "$wheels"' EXIT

# The hash selects one file of the release.
cat >"$wheels/requirements.txt" <<EOF
torch==$VERSION --hash=sha256:$TORCH_SHA256
nvidia-cuda-runtime==$CUDART --hash=sha256:$CUDART_SHA256
nvidia-cuda-cupti==$CUPTI --hash=sha256:$CUPTI_SHA256
EOF
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_25_x86_64 \
    --platform manylinux2014_x86_64 --python-version 3.11 --implementation cp --abi cp311 \
    --abi none --require-hashes --dest "$wheels" --requirement "$wheels/requirements.txt" \
    2>"$wheels/said" || {
    cat "$wheels/said" >&2
    if grep -qi 'do not match the hashes\|no space left' "$wheels/said"; then
        fail "the downloaded file is not the published one, or 1.1 GB are not free: try again, or report it"
    fi
    unfetched "pip could not fetch torch $VERSION: check the network and the package index"
}

python3 - "$wheels" "$dest" <<'EOF'
"""Unpacks the libraries and headers of libtorch for CPU."""
import pathlib
import shutil
import sys
import zipfile

wheels, dest = map(pathlib.Path, sys.argv[1:])
LIBRARIES = {
    "torch/lib/libtorch_cpu.so",
    "torch/lib/libtorch.so",
    "torch/lib/libc10.so",
    "torch/lib/libgomp.so.1",
    "nvidia/cu13/lib/libcudart.so.13",
    "nvidia/cu13/lib/libcupti.so.13",
}


def target(name):
    if name.endswith("/"):
        return None
    if name in LIBRARIES:
        return dest / "lib" / name.rsplit("/", 1)[1]
    if name.startswith("torch/include/"):
        return dest / name[len("torch/") :]
    return None


missing = set(LIBRARIES)
for wheel in sorted(wheels.glob("*.whl")):
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            path = target(name)
            if path is None:
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(name) as source, open(path, "wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
            missing.discard(name)
if missing:
    sys.exit(f"setup-libtorch: the wheels lack {sorted(missing)}")

# libtorch.so holds no code; it only lists libraries, among them libtorch_cuda.so. The shorter name
# libtorch_cpu.so replaces that entry in place, so no offset changes.
umbrella = dest / "lib" / "libtorch.so"
content = umbrella.read_bytes()
old, new = b"\0libtorch_cuda.so\0", b"\0libtorch_cpu.so\0\0"
if content.count(old) != 1:
    sys.exit("setup-libtorch: libtorch.so is not built as expected")
umbrella.write_bytes(content.replace(old, new))
EOF

# Loading the library checks that its dependencies are complete.
LD_LIBRARY_PATH="$dest/lib" python3 -c \
    'import ctypes, sys; ctypes.CDLL(sys.argv[1] + "/lib/libtorch.so")' "$dest" ||
    fail "the library in $dest does not load: it needs glibc 2.28 or later and libstdc++"

rm -rf "$wheels"
hashes >"$dest/complete"
echo "$VERSION+cpu" >"$dest/build-version"
print_settings
