#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Sets up lm-evaluation-harness, for `make test-lm-eval`, in a virtual environment of its own: .venv-lm-eval. PyTorch, transformers
# and prunecore are those of .venv, which scripts/setup-test.sh makes. Does nothing where it is there already.
set -euo pipefail
cd "$(dirname "$0")/.."
stamp=.venv-lm-eval/.installed
requirements=Tests/LmEval/requirements.txt
if [ -e "$stamp" ] && [ -z "$(find "$requirements" -newer "$stamp")" ]; then
    exit 0
fi
[ -x .venv-lm-eval/bin/python ] || .venv/bin/python -m venv .venv-lm-eval
packages='import sysconfig; print(sysconfig.get_path("purelib"))'
# What .venv has is looked up there, after what is here; "import" lines of .pth files there are not run, so prunecore is named.
printf '%s\n%s\n' "$(.venv/bin/python -c "$packages")" "$PWD/bindings/python/src" \
    >"$(.venv-lm-eval/bin/python -c "$packages")/venv.pth"
.venv-lm-eval/bin/python -m pip install -q --disable-pip-version-check -r "$requirements"
touch "$stamp"
