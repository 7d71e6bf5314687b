#!/usr/bin/env bash
# Installs ONNX Runtime 1.28.0 for CPU, the library of the `ort` backend, from a Python package index.
#
#   scripts/setup-onnxruntime.sh [DEST]     (default: $KAD_CACHE/onnxruntime, else the user's cache
#                                            folder; kad searches there by itself)
#
# Needs pip and python3 (any version) and x86_64 or aarch64 Linux with glibc 2.28 or later. Downloads
# 19 MB once, keeps 24 MB in DEST, takes seconds. If DEST is already complete, it only prints the
# settings.
#
# Why 1.28.0: the builds of 1.29 and later send telemetry. The wheel is checked against the sha256
# below, and the library in it for the name of the telemetry variable. Exit code 3: python3, pip or
# the package index is missing.
set -euo pipefail

VERSION=1.28.0
case $(uname -s)-$(uname -m) in
    Linux-x86_64) SHA256=a166b78ee04f3a37fa1ef82034b6a3ce96d9684e582d4d30b296de83e9998bb5 ;;
    Linux-aarch64) SHA256=8d66f9ceb29909c70839e4e4fb3435c7b490050d8f162bd5f3aba4ca01ee517f ;;
    *) echo "setup-onnxruntime: this script supports Linux on x86_64 and aarch64, not" \
            "$(uname -s)-$(uname -m): install ONNX Runtime $VERSION and set ORT_DYLIB_PATH" >&2
       exit 3 ;;
esac
MARK="$VERSION $SHA256"

fail() {
    echo "setup-onnxruntime: $*" >&2
    exit 1
}
unfetched() {
    echo "setup-onnxruntime: $*" >&2
    exit 3
}

cache=${KAD_CACHE:-${XDG_CACHE_HOME:-${HOME:?set HOME, KAD_CACHE or give DEST}/.cache}/kad}
dest=${1:-$cache/onnxruntime}
mkdir -p "$dest"
dest=$(cd "$dest" && pwd)
library=$dest/libonnxruntime.so

print_settings() {
    cat <<EOF
ONNX Runtime $VERSION for CPU is in $dest ($(du -sh "$dest" | cut -f1)).
To run kad with it (nothing is needed to build), set

  export ORT_DYLIB_PATH="$library"
EOF
}

# The mark is written last and holds the hash of the library.
mark() { echo "$MARK $(sha256sum <"$library" | cut -d' ' -f1)"; }
if [ -f "$library" ] && [ "$(cat "$dest/complete" 2>/dev/null)" = "$(mark)" ]; then
    print_settings
    exit 0
fi
rm -f "$dest/complete"

command -v python3 >/dev/null || unfetched "python3 is missing: install it"
python3 -m pip --version >/dev/null 2>&1 || unfetched "pip is missing: install python3-pip"
work=$(mktemp -d "$dest/download.XXXXXX")
trap 'rm -rf "$work"' EXIT

# The library in the wheel is the same for every version of Python.
python3 -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.11 \
    --implementation cp --abi cp311 --platform "manylinux_2_28_$(uname -m)" \
    --platform "manylinux_2_27_$(uname -m)" --dest "$work" "onnxruntime==$VERSION" ||
    unfetched "pip could not fetch onnxruntime==$VERSION"
wheel=$(echo "$work"/onnxruntime-*.whl)
echo "$SHA256  $wheel" | sha256sum --check --quiet - ||
    fail "$(basename "$wheel") is not the published file: try again, or report it"
python3 - "$wheel" "$work" "$VERSION" <<'PY'
import sys
import zipfile

wheel, work, version = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    library = archive.read(f"onnxruntime/capi/libonnxruntime.so.{version}")
    licences = [name for name in archive.namelist()
                if name in ("onnxruntime/LICENSE", "onnxruntime/ThirdPartyNotices.txt")]
    for name in licences:
        with open(f"{work}/{name.rsplit('/', 1)[1]}", "wb") as file:
            file.write(archive.read(name))
if b"ORT_DISABLE_TELEMETRY" in library:
    sys.exit("setup-onnxruntime: this build has telemetry")
with open(f"{work}/libonnxruntime.so", "wb") as file:
    file.write(library)
PY
rm "$wheel"
mv "$work"/* "$dest/"
# Loading the library checks that this machine's C library is recent enough.
ORT_DISABLE_TELEMETRY=1 python3 -c 'import ctypes, sys; ctypes.CDLL(sys.argv[1])' "$library" ||
    fail "the library in $dest does not load: it needs glibc 2.28 or later and libstdc++"
mark >"$dest/complete"
print_settings
