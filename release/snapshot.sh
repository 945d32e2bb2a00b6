#!/usr/bin/env bash
# Builds the archives of a release where nothing but Go, tar and zip is, and says what a
# release has besides. `make release-snapshot` calls it with GO, TAGS, LDFLAGS, VERSION and
# SOURCE_DATE_EPOCH. .goreleaser.yaml is what it imitates, and release_test.go holds the
# two together. PLATFORMS can name fewer platforms, joined with spaces; DIST is where to
# write, and FILES is where make release-files has written.
set -euo pipefail
cd "$(dirname "$0")/.."

: "${GO:?}" "${TAGS:?}" "${LDFLAGS:?}" "${VERSION:?}" "${SOURCE_DATE_EPOCH:?}"
read -ra platforms <<<"${PLATFORMS:-linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64}"
dist=${DIST:-$PWD/dist/release}
files=${FILES:-$PWD/bin/release}
rm -rf "$dist"
mkdir -p "$dist"

# pack DIRECTORY NAME puts all of a directory into NAME.tar.gz or NAME.zip, with the
# commit's time and nobody as the owner, so that the same files make the same archive.
pack() {
	find "$1" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
	if [[ $2 == *.zip ]]; then
		(cd "$1" && find -- * -type f | LC_ALL=C sort | TZ=UTC zip -X -q "$dist/$2" -@)
	else
		(cd "$1" && tar --create --sort=name --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX --format=ustar -- *) | gzip -9 -n >"$dist/$2"
	fi
}

for platform in "${platforms[@]}"; do
	os=${platform%/*} arch=${platform#*/} suffix=tar.gz program=ecr-mirror-sync
	if [[ $os == windows ]]; then
		suffix=zip program=ecr-mirror-sync.exe
	fi
	stage=$dist/.stage/$os-$arch
	mkdir -p "$stage"
	CGO_ENABLED=0 GOOS=$os GOARCH=$arch "$GO" build -buildvcs=false -tags "$TAGS" -trimpath -ldflags "$LDFLAGS" \
		-o "$stage/$program" ./cmd/ecr-mirror-sync
	cp -R LICENSE README.md CHANGELOG.md "$files/completions" "$files/man" "$stage"
	archive=ecr-mirror-sync_${VERSION}_${os}_${arch}.$suffix
	pack "$stage" "$archive"
	echo "built $dist/$archive, $(wc -c <"$dist/$archive") bytes"
done
rm -rf "$dist/.stage"
(cd "$dist" && shopt -s nullglob && sha256sum -- *.tar.gz *.zip >checksums.txt)

cat <<'END'
Left out, because only the release workflow has what they need:
  SBOMs                    syft
  signature of checksums   cosign, and GitHub's identity
  provenance               GitHub's attestations
  image                    a registry to push to (make image-oci builds it)
  chart as OCI artifact    a registry to push to (make chart checks it)
  Homebrew cask            the tap's repository
END
