#!/usr/bin/env bash
# Fetches a release, checks it against the release's checksums, and puts the program on
# the PATH of the steps that follow. Reads VERSION, DOWNLOAD_URL and what the runner sets.
set -euo pipefail

version=${VERSION:-}
version=${version#v}
if [[ ! $version =~ ^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$ ]]; then
	echo "::error::ecr-mirror-sync: version \"$version\" is no release; use the action at one (@v1.2.3) or give version: 1.2.3" >&2
	exit 10
fi
case "$RUNNER_OS" in
Linux) os=linux suffix=tar.gz ;;
macOS) os=darwin suffix=tar.gz ;;
Windows) os=windows suffix=zip ;;
*)
	echo "::error::ecr-mirror-sync: there is no release for $RUNNER_OS" >&2
	exit 10
	;;
esac
case "$RUNNER_ARCH" in
X64) arch=amd64 ;;
ARM64) arch=arm64 ;;
*)
	echo "::error::ecr-mirror-sync: there is no release for $RUNNER_ARCH" >&2
	exit 10
	;;
esac

dir=$RUNNER_TEMP/ecr-mirror-sync-$version
archive=ecr-mirror-sync_${version}_${os}_${arch}.$suffix
mkdir -p "$dir"
cd "$dir"
for file in checksums.txt "$archive"; do
	curl --fail --silent --show-error --location --retry 3 --output "$file" "$DOWNLOAD_URL/v$version/$file"
done

sum() { if command -v sha256sum >/dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d ' ' -f 1; }
wanted=$(awk -v name="$archive" '$2 == name { print $1 }' checksums.txt)
if [[ -z $wanted || $(sum "$archive") != "$wanted" ]]; then
	rm -f "$archive"
	echo "::error::ecr-mirror-sync: $archive is not what checksums.txt of release $version says" >&2
	exit 3
fi

if [[ $suffix == zip ]]; then
	unzip -oq "$archive"
else
	tar -xzf "$archive"
fi
echo "$dir" >>"$GITHUB_PATH"
"$dir/ecr-mirror-sync" version
