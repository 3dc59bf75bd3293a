#!/bin/sh
# SPDX-License-Identifier: MIT
# Makes Debian's package of the source tree in the working directory, source and binary, and puts
# it into build-package.  With --check the licence of each file must be known to reuse, and the
# package is made once more, in another directory, year, time zone and umask: it must be the same.
# For tests/debian-folder VERSION build.
set -eu

fail() {
	echo "FAILED: $*" >&2
	exit 1
}

version=$(sed -n 's/^\tVERSION //p' CMakeLists.txt)
[ "$(dpkg-parsechangelog -S Version)" = "$version-1" ] ||
	fail "debian/changelog is of another version than CMakeLists.txt, which says $version"

# make_package DIRECTORY COMMAND...: run by that command, if there is one
make_package() {
	directory=$1
	shift
	mkdir -p "$directory"
	tar -c --exclude='./build*' --exclude=./.git . | tar -C "$directory" -x
	mv "$directory/debian" "$directory.debian"
	tar -C "$directory" --owner=0 --group=0 -czf "${directory%/*}/shmfs_$version.orig.tar.gz" .
	mv "$directory.debian" "$directory/debian"
	(cd "$directory" && "$@" dpkg-buildpackage -us -uc >"$directory.log" 2>&1) || {
		grep -E ' (error|warning): |Failed|FAILED|CMake Error' "$directory.log" || tail -n 40 "$directory.log"
		fail "dpkg-buildpackage"
	}
	rm -r "$directory"
}

work=$(mktemp -d)
trap 'rm -r -- "$work"' EXIT
chmod 755 "$work"
make_package "$work/first/shmfs-$version"
if [ "${1-}" = --check ]; then
	mkdir "$work/licences"
	tar -xzf "$work/first/shmfs_$version.orig.tar.gz" -C "$work/licences"
	(cd "$work/licences" && reuse lint --quiet) || (cd "$work/licences" && reuse lint)
	# Unit tests, which passed above, measure times.
	(umask 077 && TZ=Asia/Tokyo make_package "$work/another place/shm fs" \
		env DEB_BUILD_OPTIONS=nocheck FAKETIME_DONT_FAKE_MONOTONIC=1 faketime -f +400d)
	next_year=$(date -d "$(date -R) + 400 days" +%Y)
	grep -q "^Build-Date: .* $next_year " "$work/another place"/*.buildinfo ||
		fail "the clock has not been another one"
	for package in "$work"/first/*.deb; do
		cmp "$package" "$work/another place/${package##*/}" ||
			fail "where and how it is built makes a difference"
	done
	echo "the same package from another directory, year, time zone and umask"
fi
find build-package -mindepth 1 -delete
find "$work/first" -maxdepth 1 -type f -exec cp -t build-package {} +
