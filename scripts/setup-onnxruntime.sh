#!/usr/bin/env bash
# ONNX Runtime 1.28.0 for CPU, as the `ort` backend loads it, from a Python package index alone.
#
#   scripts/setup-onnxruntime.sh [DEST]     (default: $KAD_CACHE/onnxruntime, else the user's cache
#                                            folder; kad looks there without being told)
#
# Needs pip and python3 (any version), x86_64 or aarch64 Linux with glibc 2.28 or later. Downloads
# 19 MB once, leaves 24 MB in DEST, takes seconds. Run again, it sees that DEST is complete and only
# prints what to set.
#
# 1.28.0 on purpose: the builds of 1.29 and later send telemetry. The wheel is checked against the
# sha256 below, and the library in it for what the telemetry needs. Exit code 3: there is nothing to
# fetch it with or from.
set -euo pipefail

VERSION=1.28.0
case $(uname -s)-$(uname -m) in
    Linux-x86_64) SHA256=a166b78ee04f3a37fa1ef82034b6a3ce96d9684e582d4d30b296de83e9998bb5 ;;
    Linux-aarch64) SHA256=8d66f9ceb29909c70839e4e4fb3435c7b490050d8f162bd5f3aba4ca01ee517f ;;
    *) echo "setup-onnxruntime: this recipe is for Linux, and this is $(uname -s)-$(uname -m): get" \
            "ONNX Runtime $VERSION for it and set ORT_DYLIB_PATH" >&2
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

# The mark is written last and names the library it was made with.
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

# The wheel's library does not depend on the version of Python it is made for.
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
# Whether it loads is for the loader to say: glibc may be too old, or another C library.
ORT_DISABLE_TELEMETRY=1 python3 -c 'import ctypes, sys; ctypes.CDLL(sys.argv[1])' "$library" ||
    fail "the library in $dest does not load: it needs glibc 2.28 or later and libstdc++"
mark >"$dest/complete"
print_settings
