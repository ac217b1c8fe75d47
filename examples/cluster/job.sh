#!/usr/bin/env bash
# Tag a prefix of a bucket on a Ray cluster that runs already:
#   RAY_ADDRESS=http://HEAD:8265 examples/cluster/job.sh s3://bucket/prefix/ s3://bucket/results/ [more options of ast-tag]
# The same line once more goes on where a broken run was.
set -euo pipefail

recordings=${1:?where the recordings lie, as s3://bucket/prefix/}
results=${2:?where the results go, as s3://bucket/results/}

exec ray job submit -- ast-tag "$recordings" --ray auto --out "$results" --resume "${@:3}"
