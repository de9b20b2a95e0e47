#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The C loops compile without a warning for x86-64 and for arm64, whatever machine this is: objects only, no libraries.
set -euo pipefail
cd "$(dirname "$0")/../Sources/PruneCore/CKernels"
swift=$(command -v swift)
clang=$(dirname "$(readlink -f "$swift")")/clang
[ -x "$clang" ] || clang=$(command -v clang)
for target in x86_64-linux-gnu aarch64-linux-gnu arm64-apple-macos14; do
    for file in *.c; do
        "$clang" --target="$target" -ffreestanding -O2 -Wall -Wextra -Werror -c "$file" -o /dev/null
    done
done
echo "the C loops compile for x86-64 and arm64"
