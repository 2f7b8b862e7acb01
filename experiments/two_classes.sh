#!/usr/bin/env bash
# Tiny California: does a small network tell the north from the south by a street photo?
# Two classes, divided at the median latitude of the photos.
#
#   experiments/two_classes.sh                         California on the simulated planet: free
#   experiments/two_classes.sh --real ADDRESSES BUDGET California on Street View: OpenAddresses files
#                                                      (a folder of them), and the most to spend, in
#                                                      dollars; GOOGLE_MAPS_API_KEY is set; you have
#                                                      read Google's terms, which bind you
#   experiments/two_classes.sh --photos PHOTOS WEIGHTS photos of your own, a folder with photos.csv;
#                                                      WEIGHTS for mobilenet_v2: a file, or imagenet
#
# It changes params.yaml, dvc.lock and metrics/ as `dvc exp run` does;
# `git checkout . && dvc checkout` goes back.
set -euo pipefail

usage() { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 2; }
network=(-S backbone=shufflenet_v2_x1_0 -S weights=none -S image_size=64 -S epochs=14)
street=(-S source=streetview -S push_to=nowhere -S streetview.terms_accepted=true)
case "${1:-}" in
  "")
    [ $# -eq 0 ] || usage
    from=("${street[@]}" -S budget_usd=50 -S streetview.locations=1200 -S streetview.size=128) ;;
  --real)
    [ $# -eq 3 ] || usage
    # Four pictures a place at 7 dollars a thousand, and some to spare for second tries.
    places=$(python3 -c "print(max(1, int(0.97 * float('$3') / 0.028)))")
    from=("${street[@]}" -S world=real -S "budget_usd=$3" -S "streetview.addresses=[$(realpath "$2")]"
          -S streetview.region_km=20 -S "streetview.locations=$places") ;;
  --photos)
    [ $# -eq 3 ] || usage
    weights=$3
    [ "$weights" = imagenet ] || weights=$(realpath "$3")
    from=(-S source=folder -S "folder.path=$(realpath "$2")")
    network=(-S backbone=mobilenet_v2 -S "weights=$weights" -S image_size=128 -S epochs=9
             -S batch_size=32 -S lr=3e-4 -S patience=4 -S augment.colour=0.3) ;;
  *) usage ;;
esac
cd "$(dirname "$0")/.."
[ -d .venv ] && PATH="$PWD/.venv/bin:$PATH"

# Near the divide the other class is as wrong as anywhere, so nothing is smoothed.
dvc exp run -S partition=north_south -S loss=softmax "${from[@]}" "${network[@]}"
python -m nogps results
