#!/bin/sh
# What has to be on the machine before anything can be built. Every missing thing is named at once, with what to do.
# `check_prerequisites.sh lint` also asks for the two cargo commands that only the checks need.
cd "$(dirname "$0")/.." || exit 1
python=${PYTHON:-python3}
faults=0
missing() {
  printf 'missing: %s\n' "$1" >&2
  faults=$((faults + 1))
}

if ! command -v "$python" >/dev/null 2>&1; then
  missing "$python. Install Python 3.10 or newer (Debian: apt-get install python3 python3-venv)."
elif ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
  missing "Python 3.10 or newer; $python is $("$python" --version 2>&1). Name another one: make PYTHON=python3.12 ..."
elif ! "$python" -c 'import venv, ensurepip' >/dev/null 2>&1; then
  missing "the venv module of $python (Debian: apt-get install python3-venv)."
fi

if ! command -v cargo >/dev/null 2>&1; then
  missing "cargo. Install Rust with rustup (https://rustup.rs)."
else
  # The floor stands in one place, Cargo.toml.
  need=$(sed -n 's/^rust-version *= *"\([0-9.]*\)".*/\1/p' Cargo.toml)
  have=$(cargo --version | sed -n 's/^cargo \([0-9.]*\).*/\1/p')
  lowest=$(printf '%s\n%s\n' "$need" "$have" | sort -V | head -n 1)
  if [ -n "$need" ] && [ "$lowest" != "$need" ]; then
    missing "Rust $need or newer; cargo is $have (rustup update)."
  fi
fi

if ! command -v "${CC:-cc}" >/dev/null 2>&1; then
  missing "a C compiler (Debian: apt-get install gcc libc6-dev). SQLite and the cryptography are built from C."
fi

if [ "${1:-}" = lint ] && [ "$faults" -eq 0 ]; then
  cargo fmt --version >/dev/null 2>&1 || missing "cargo fmt (rustup component add rustfmt)."
  cargo clippy --version >/dev/null 2>&1 || missing "cargo clippy (rustup component add clippy)."
fi

[ "$faults" -eq 0 ]
