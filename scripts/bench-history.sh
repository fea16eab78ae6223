#!/usr/bin/env bash
# How long does a history of 5,000 nights with 50 series take to load and evaluate? It is made of chance, checksums included.
# Usage: scripts/bench-history.sh [NIGHTS [SERIES]]
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release --locked --quiet
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
python3 - "$home" "${1:-5000}" "${2:-50}" <<'EOF'
import csv, datetime, io, random, sys, zlib
home, nights, series = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
random.seed(1)
def lines(rows):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
columns = ("night,cell,metric,unit,better,segment,segment_began,level,level_nights,rounds,ratio,lo,hi,confidence,spread,mde80,p,p_adjusted,"
    "placebo_ratio,placebo_lo,placebo_hi,placebo_p,reference_value,candidate_value,alarm,since,confirm_rounds,confirm_ratio,confirm_lo,"
    "confirm_hi,confirm_p,finding")
heads = ("schema_version,night,started_utc,wall_s,experiment,machine,host,fingerprint,platform,subject,reference,candidate,version,kernel,cpu,exit,"
    "summary,violations,series_rows,series_bytes,series_crc,line_crc")
with open(f"{home}/series.csv", "w") as all_series, open(f"{home}/nights.csv", "w") as all_nights:
    all_series.write(columns + "\n")
    all_nights.write(heads + "\n")
    length = len(columns) + 1
    chain = ""
    for n in range(nights):
        start = datetime.datetime(2010, 1, 1) + datetime.timedelta(days=n)
        name = start.strftime("%Y%m%dT%H%M%SZ-host")
        rows = []
        for s in range(series):
            r = random.gauss(1, 0.003)
            # One series in ten is worse for the last fifth of the nights.
            bad = s % 10 == 0 and n >= nights * 4 // 5
            since = (datetime.datetime(2010, 1, 1) + datetime.timedelta(days=nights * 4 // 5)).strftime("%Y%m%dT%H%M%SZ-host")
            rows.append([name, f"cell-{s}", "iops", "IOPS", "higher", 1, "", 1.0, n, 24, r, r - 0.006, r + 0.006, 0.95, 0.015, 0.014, 0.5, 1.0, 1.0,
                0.994, 1.006, 0.5, 700000.0, 700000.0 * r, *(["open", since, 24, r, r, r, 0.001, "regressed"] if bad else [""] * 7 + ["steady"])])
        text = lines(rows)
        length += len(text)
        all_series.write(text)
        night = [1, name, start.strftime("%Y-%m-%dT%H:%M:%SZ"), 60.0, "nightly", "host", "host", "0" * 8, "x86_64, Linux 6, loop",
            "0" * 8, "0" * 8, "0" * 8, "0.1.0", "Linux", "CPU", 0, "steady", 0, series, length, f"{zlib.crc32(text.encode()):08x}"]
        chain = f"{zlib.crc32((chain + lines([night + ['']])).encode()):08x}"
        all_nights.write(lines([night + [chain]]))
EOF
du -sh "$home"
TIMEFORMAT='%R s'
for _ in 1 2 3; do
  # Loads, and asks every series for its segment, its level, a change of level and its memory.
  time ./target/release/uring-ablate history show "$home" >/dev/null
done
./target/release/uring-ablate history verify "$home"
