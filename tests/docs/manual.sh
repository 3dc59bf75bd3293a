#!/bin/bash
# SPDX-License-Identifier: MIT
# The manual pages render without a warning, by mandoc and by man.
set -eu -o pipefail

if [ $# -eq 0 ]; then
	echo "usage: ${0##*/} PAGE..." >&2
	exit 2
fi
for program in mandoc man; do
	if ! command -v "$program" >/dev/null; then
		echo "skipped: no $program"
		exit 77
	fi
done

export LC_ALL=C.UTF-8 LANGUAGE=
failed=
for page; do
	said=$(
		# A page that another one names need not be installed: that is of level "style".
		mandoc -T lint -W warning "$page" 2>&1 || true
		man --warnings -E UTF-8 -l -Tutf8 -Z "$page" 2>&1 >/dev/null || echo "status $?"
	)
	[ -z "$said" ] || failed=$failed$'\n'$page:$'\n'$said
done
[ -z "$failed" ] || {
	echo "FAILED:$failed"
	exit 1
}
echo "$# pages without a warning"
