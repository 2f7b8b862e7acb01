#!/usr/bin/env bash
# Recreate im2gps from today's Flickr: photos that name a city, a country or a region, without those
# that tell of parties and people, and train on them.
#
#   experiments/im2gps.sh FROM TO [TERMS]       such as: experiments/im2gps.sh 2006-07-20 2007-10-12
#
# FROM, TO  upload dates, both included; those above are im2gps's
# TERMS     a file of search words, a line each, those to avoid with a minus before them; by default
#           experiments/im2gps_terms.txt
#
# FLICKR_API_KEY and FLICKR_API_SECRET are set, or stand in .env. Put the ids of Im2GPS and Im2GPS3k
# into data/exclude.txt first. It says how many hours the search will take (Flickr allows 3,600
# calls an hour); stop it whenever you like, and run the same command to go on.
set -euo pipefail

[ $# -ge 2 ] || { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 2; }
terms=$(realpath "${3:-$(dirname "$0")/im2gps_terms.txt}")
cd "$(dirname "$0")/.."
[ -d .venv ] && PATH="$PWD/.venv/bin:$PATH"

list() { grep -v '^#' "$terms" | grep "$@" | sed 's/^-//; s/.*/"&"/' | paste -sd,; }
dvc exp run -S world=real -S source=flickr -S "flickr.terms=[$(list -v '^-')]" \
  -S "flickr.excluded_terms=[$(list '^-')]" -S "flickr.uploaded_from='$1'" \
  -S "flickr.uploaded_to='$2'" -S flickr.accuracy=6 -S flickr.size=l \
  -S cells.min_photos=25 -S cells.max_photos=500 -S cells.min_level=6 -S cells.max_level=23 \
  -S backbone=mobilenet_v3_large -S weights=imagenet -S image_size=224 -S lr=3e-4 \
  -S augment.colour=0.3
python -m nogps results
