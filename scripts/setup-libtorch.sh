#!/usr/bin/env bash
# libtorch 2.13.0 for CPU, as the `tch` backend wants it, from a Python package index alone.
#
#   scripts/setup-libtorch.sh [DEST]        (default: .libtorch beside the workspace)
#
# Needs pip and python3 (any version), x86_64 Linux with glibc 2.28 or later; no compiler. Downloads
# 540 MB once, leaves 490 MB in DEST, wants 1.1 GB free on the way, takes a minute. Run again, it
# sees that DEST is complete and only prints what to set.
#
# There is no wheel of libtorch for CPU alone, so it is cut out of the one for CUDA: libtorch_cpu.so
# and what it needs, without the kernels for GPUs. It was linked to two small CUDA libraries that it
# calls only where there is a GPU; they are taken from their own wheels. Every download is checked
# against the sha256 below. Exit code 3: there is nothing to fetch it with or from.
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

# Written last, so that an interrupted run is not taken for a finished one, and with the libraries'
# hashes, so that a spoilt one is not either. (torch-sys reads build-version.)
hashes() { (cd "$dest/lib" && sha256sum ./*.so*); }
if [ "$(cat "$dest/build-version" 2>/dev/null)" = "$VERSION+cpu" ] &&
    [ "$(cat "$dest/complete" 2>/dev/null)" = "$(hashes)" ]; then
    print_settings
    exit 0
fi

case "$(uname -s)-$(uname -m)" in
Linux-x86_64) ;;
*) unfetched "this recipe is for x86_64 Linux, and this is $(uname -s)-$(uname -m);" \
    "unpack libtorch $VERSION from pytorch.org and set LIBTORCH to its folder" ;;
esac
python3 -c '' || unfetched "python3 is needed"
python3 -m pip --version >/dev/null || unfetched "pip is needed: apt-get install python3-pip"

echo "setup-libtorch: fetching 540 MB into $dest" >&2
wheels="$dest/.wheels"
rm -rf "$wheels"
mkdir "$wheels"
trap 'rm -rf "$wheels"' EXIT

# The hash decides which file of a release is meant.
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
        fail "what was fetched is not the published file, or 1.1 GB do not fit: try again, or report it"
    fi
    unfetched "pip could not fetch torch $VERSION: is there a package index?"
}

python3 - "$wheels" "$dest" <<'EOF'
"""Unpacks what libtorch for CPU is made of."""
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

# libtorch.so holds no code: it names the libraries that are libtorch, the one for CUDA among them.
# That name is replaced by that of a library which is there; it is shorter, so nothing moves.
umbrella = dest / "lib" / "libtorch.so"
content = umbrella.read_bytes()
old, new = b"\0libtorch_cuda.so\0", b"\0libtorch_cpu.so\0\0"
if content.count(old) != 1:
    sys.exit("setup-libtorch: libtorch.so is not built as expected")
umbrella.write_bytes(content.replace(old, new))
EOF

# The loader itself says whether everything is there.
LD_LIBRARY_PATH="$dest/lib" python3 -c \
    'import ctypes, sys; ctypes.CDLL(sys.argv[1] + "/lib/libtorch.so")' "$dest" ||
    fail "the library in $dest does not load: it needs glibc 2.28 or later and libstdc++"

rm -rf "$wheels"
hashes >"$dest/complete"
echo "$VERSION+cpu" >"$dest/build-version"
print_settings
