#!/usr/bin/env bash
# Installs what the tests need into .venv-test (and, as root on Debian, Chromium and Fashion-MNIST), runs
# the linter and all tests. GENDIFF_PYTHON names another Python than python3.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=.venv-test
[ -x "$venv/bin/python" ] || "${GENDIFF_PYTHON:-python3}" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r requirements.txt -r tests/requirements.txt
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
  missing=()
  [ -x /usr/bin/chromium ] || missing+=(chromium)
  [ -d /usr/share/datasets/fashion-mnist ] || missing+=(dataset-fashion-mnist)
  if [ "${#missing[@]}" -gt 0 ]; then
    # Without them the tests that need them skip, and say so.
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; } \
      >/dev/null || echo "Could not install ${missing[*]}; some tests will be skipped." >&2
  fi
fi
export GRADIO_ANALYTICS_ENABLED=False HF_HUB_OFFLINE=1
"$venv/bin/ruff" check .
"$venv/bin/ruff" format --check .
# Two processes, a test module each, one of them for the browser: the tests compute on one thread.
exec "$venv/bin/python" -m pytest -n 2 --dist loadgroup "$@"
