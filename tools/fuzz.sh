#!/usr/bin/env bash
# tools/fuzz.sh MINUTES [TARGET...]: every fuzz target (or those named) for so many minutes, and a table at the end.
# A target stops at its first finding; the others run all the same, and the exit status is 1. What was found lies in
# fuzz/artifacts and belongs into fuzz/seeds once it is mended, where `cargo test` replays it.
set -uo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
minutes=${1:-1}
shift
[[ $minutes =~ ^[1-9][0-9]*$ ]] || { echo "MINUTES is a whole number from 1 up, not '$minutes'" >&2; exit 2; }

faults=0
missing() {
  printf 'missing: %s\n' "$1" >&2
  faults=1
}
cargo +nightly --version >/dev/null 2>&1 || missing 'a nightly Rust (rustup toolchain install nightly). Sanitizers need it.'
cargo fuzz --version >/dev/null 2>&1 || missing 'cargo fuzz (cargo install cargo-fuzz --locked).'
[ "$faults" -eq 0 ] || exit 2

# The longest input of each, in bytes: as long as what is accepted gets in practice, because longer ones are slower.
declare -A longest=(
  [callback]=2048 [compact]=4096 [cookie]=6000 [discovery]=4096 [key_set]=16384 [next]=2200 [roles]=2048 [settings]=4096
)
targets=("$@")
[ "$#" -gt 0 ] || for file in fuzz/targets/*.rs; do targets+=("$(basename "$file" .rs)"); done
for target in "${targets[@]}"; do
  [ -n "${longest[$target]:-}" ] || { echo "no fuzz target '$target'; there are: ${!longest[*]}" >&2; exit 2; }
done

tools/step 'Building the fuzzers with AddressSanitizer (first time: about 4 minutes)' cargo +nightly fuzz build || exit
mkdir -p build/fuzz
findings=0
table=("$(printf '%-12s %14s %10s %10s  %s' target executions edges corpus findings)")
for target in "${targets[@]}"; do
  corpus=fuzz/corpus/$target artifacts=fuzz/artifacts/$target log=build/fuzz/$target.log
  mkdir -p "$corpus" "$artifacts"
  before=$(find "$artifacts" -type f | wc -l)
  printf '==> Fuzzing %s for %s min (log: %s) ...\n' "$target" "$minutes" "$log"
  cargo +nightly fuzz run "$target" "$corpus" "fuzz/seeds/$target" -- -max_total_time=$((minutes * 60)) \
    "-max_len=${longest[$target]}" -timeout=10 -rss_limit_mb=4096 -print_final_stats=1 >"$log" 2>&1
  status=$?
  new=$(($(find "$artifacts" -type f | wc -l) - before))
  # A fuzzer that could not even begin has found nothing, but it has not fuzzed either.
  [ "$status" -eq 0 ] || { findings=$((findings + 1)); tail -n 25 "$log"; }
  executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -n 1)
  edges=$(grep -ao 'cov: [0-9]*' "$log" | tail -n 1 | tr -dc 0-9)
  table+=("$(printf '%-12s %14s %10s %10s  %s' "$target" "${executions:-?}" "${edges:-?}" \
    "$(find "$corpus" -type f | wc -l)" "$new$([ "$status" -eq 0 ] || echo " (exit status $status)")")")
done
printf '\n'
printf '%s\n' "${table[@]}"
[ "$findings" -eq 0 ]
