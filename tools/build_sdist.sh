#!/usr/bin/env bash
# The sdist, and a wheel made from it the way pip makes one on a machine for which there is no wheel.
# Argument: the folder of maturin's environment.
set -euo pipefail
bin=$1
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
rm -rf build/sdist
mkdir -p build/sdist
"$bin/maturin" sdist --out build/sdist
tar -xzf build/sdist/*.tar.gz -C build/sdist
source=$(find build/sdist -mindepth 1 -maxdepth 1 -type d)
# The archive's files are dated 1980 or so. Cargo, which goes by dates, would take what it has built from the sources
# beside them for the same thing, and nothing would be tried.
find "$source" -type f -exec touch {} +
# Without isolation, because maturin is here already; with the shared target
# folder only our own crate is compiled anew.
PATH="$bin:$PATH" "$bin/python" -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation \
  --wheel-dir build/sdist/wheel "./$source"
ls -l build/sdist/*.tar.gz build/sdist/wheel/*.whl
