#!/bin/sh
# SPDX-License-Identifier: MIT
# Makes Debian's package of the source tree in the working directory, source and binary, and puts
# it into build-package.  With --check the licence of each file must be known to reuse, and the
# package is made once more, in another directory, time zone and umask: it must be the same.
# For tests/debian-folder VERSION build.
set -eu

fail() {
	echo "FAILED: $*" >&2
	exit 1
}

version=$(sed -n 's/^\tVERSION //p' CMakeLists.txt)
[ "$(dpkg-parsechangelog -S Version)" = "$version-1" ] ||
	fail "debian/changelog is of another version than CMakeLists.txt, which says $version"

# make_package DIRECTORY
make_package() {
	mkdir -p "$1"
	tar -c --exclude='./build*' --exclude=./.git . | tar -C "$1" -x
	mv "$1/debian" "$1.debian"
	tar -C "$1" --owner=0 --group=0 -czf "${1%/*}/shmfs_$version.orig.tar.gz" .
	mv "$1.debian" "$1/debian"
	(cd "$1" && dpkg-buildpackage -us -uc >"$1.log" 2>&1) || {
		grep -E ' (error|warning): |Failed|FAILED|CMake Error' "$1.log" || tail -n 40 "$1.log"
		fail "dpkg-buildpackage"
	}
	rm -r "$1"
}

work=$(mktemp -d)
trap 'rm -r -- "$work"' EXIT
chmod 755 "$work"
make_package "$work/first/shmfs-$version"
if [ "${1-}" = --check ]; then
	mkdir "$work/licences"
	tar -xzf "$work/first/shmfs_$version.orig.tar.gz" -C "$work/licences"
	(cd "$work/licences" && reuse lint --quiet) || (cd "$work/licences" && reuse lint)
	(umask 077 && TZ=Asia/Tokyo make_package "$work/another place/shm fs")
	for package in "$work"/first/*.deb; do
		cmp "$package" "$work/another place/${package##*/}" ||
			fail "where and how it is built makes a difference"
	done
	echo "the same package from another directory, time zone and umask"
fi
find build-package -mindepth 1 -delete
find "$work/first" -maxdepth 1 -type f -exec cp -t build-package {} +
