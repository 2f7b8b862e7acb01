#!/usr/bin/env bash
# World street photos: does a network that knows ImageNet learn places from a few thousand photos?
#
#   experiments/world_streetview.sh PHOTOS WEIGHTS
#
# PHOTOS   a folder with photos.csv (file, latitude, longitude, owner), see README
# WEIGHTS  ImageNet weights for mobilenet_v2, a state dict; or the word imagenet, to download them
#
# About nine minutes on 2 cores for 5,500 photos. It changes params.yaml, dvc.lock and metrics/ as
# `dvc exp run` does; `git checkout . && dvc checkout` goes back.
set -euo pipefail

[ $# -eq 2 ] || { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 2; }
photos=$(realpath "$1")
weights=$2
[ "$weights" = imagenet ] || weights=$(realpath "$2")
cd "$(dirname "$0")/.."
[ -d .venv ] && PATH="$PWD/.venv/bin:$PATH"

dvc exp run \
  -S source=folder -S "folder.path=$photos" \
  -S image_size=128 -S cells.min_photos=20 -S cells.max_photos=100 \
  -S backbone=mobilenet_v2 -S "weights=$weights" \
  -S epochs=9 -S head_epochs=1 -S batch_size=32 -S lr=3e-4 -S patience=4
python src/results.py
