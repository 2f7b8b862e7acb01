#!/usr/bin/env bash
# World street photos: the best recipe for a few thousand photos, from ImageNet weights.
#
#   experiments/world_streetview.sh PHOTOS WEIGHTS
#
# PHOTOS   a folder with photos.csv (file, latitude, longitude, owner), see docs/data.md
# WEIGHTS  ImageNet weights for mobilenet_v2, a state dict; or the word imagenet, to download them
#
# It changes params.yaml, dvc.lock and metrics/ as `dvc exp run` does;
# `git checkout . && dvc checkout` goes back.
set -euo pipefail

[ $# -eq 2 ] || { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 2; }
photos=$(realpath "$1")
weights=$2
[ "$weights" = imagenet ] || weights=$(realpath "$2")
cd "$(dirname "$0")/.."
[ -d .venv ] && PATH="$PWD/.venv/bin:$PATH"

dvc exp run $(cat recipes/street) \
  -S source=folder -S "folder.path=$photos" -S "weights=$weights" -S split.val=0.1 -S split.test=0.1 \
  -S cells.min_photos=4 -S cells.max_photos=12 -S precision=bf16 -S eval.together=owner
nogps results
