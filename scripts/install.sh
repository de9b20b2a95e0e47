#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs the C library for C and C++ programs: headers, library, pkg-config file and CMake package.
#
#   scripts/install.sh [--prefix DIR]
#
# DIR is /usr/local if not given. DESTDIR, if set, is put before it (for packagers). The installed tree may be moved:
# neither the pkg-config file nor the CMake package holds an absolute path. Needs build/lib/libprunecore.so.1, which
# scripts/build-library.sh makes.
set -eu

usage() {
    echo "usage: scripts/install.sh [--prefix DIR]" >&2
    exit 2
}

root=$(cd "$(dirname "$0")/.." && pwd)
prefix=/usr/local
while [ $# -gt 0 ]; do
    case $1 in
    --prefix)
        [ $# -ge 2 ] || usage
        prefix=$2
        shift 2
        ;;
    --prefix=*)
        prefix=${1#--prefix=}
        shift
        ;;
    *) usage ;;
    esac
done
[ -n "$prefix" ] || usage
case $prefix in
/*) ;;
*) prefix=$(pwd)/$prefix ;;
esac
target=${DESTDIR:-}$prefix

header=$root/include/prunecore.h
number() { # the value of one #define of the public header
    sed -n "s/^#define $1 \([0-9][0-9]*\)\$/\1/p" "$header"
}
major=$(number PRUNE_VERSION_MAJOR)
minor=$(number PRUNE_VERSION_MINOR)
patch=$(number PRUNE_VERSION_PATCH)
abi=$(number PRUNE_ABI_VERSION)
if [ -z "$major" ] || [ -z "$minor" ] || [ -z "$patch" ] || [ -z "$abi" ]; then
    echo "install.sh: include/prunecore.h does not define its version" >&2
    exit 1
fi

library=$root/build/lib/libprunecore.so.$abi
if [ ! -f "$library" ]; then
    echo "install.sh: build/lib/libprunecore.so.$abi is not there; run scripts/build-library.sh first" >&2
    exit 1
fi
# The fifth byte of an ELF file says 1 for 32 bits, 2 for 64.
case $(od -An -tu1 -j4 -N1 "$library" | tr -d ' ') in
1) pointer_size=4 ;;
2) pointer_size=8 ;;
*)
    echo "install.sh: build/lib/libprunecore.so.$abi is not an ELF library; run scripts/build-library.sh again" >&2
    exit 1
    ;;
esac

fill() { # template, destination
    sed -e "s/@PRUNECORE_VERSION@/$major.$minor.$patch/g" \
        -e "s/@PRUNECORE_VERSION_MAJOR_MINOR@/$major.$minor/g" \
        -e "s/@PRUNECORE_VERSION_MAJOR@/$major/g" \
        -e "s/@PRUNECORE_ABI_VERSION@/$abi/g" \
        -e "s/@PRUNECORE_POINTER_SIZE@/$pointer_size/g" "$1" >"$2"
    chmod 644 "$2"
}

mkdir -p "$target/include/prunecore" "$target/lib/pkgconfig" "$target/lib/cmake/prunecore"
install -m 644 "$header" "$root/bindings/cpp/prunecore.hpp" "$target/include/"
install -m 644 "$root"/bindings/cpp/prunecore/*.hpp "$target/include/prunecore/"
install -m 755 "$library" "$target/lib/libprunecore.so.$abi"
ln -sf "libprunecore.so.$abi" "$target/lib/libprunecore.so"
fill "$root/bindings/cpp/prunecore.pc.in" "$target/lib/pkgconfig/prunecore.pc"
fill "$root/bindings/cpp/prunecoreConfig.cmake.in" "$target/lib/cmake/prunecore/prunecoreConfig.cmake"
fill "$root/bindings/cpp/prunecoreConfigVersion.cmake.in" "$target/lib/cmake/prunecore/prunecoreConfigVersion.cmake"
echo "installed prunecore $major.$minor.$patch in $target"
