#!/usr/bin/env bash
# Starts llamapod under Docker: start.sh --engine docker, with the same arguments otherwise (start.sh --help).
exec "$(dirname "${BASH_SOURCE[0]}")/start.sh" --engine docker "$@"
