#!/usr/bin/env bash
# package.sh: builds a .deb and an .rpm for each of $ARCHS into $OUT. The Makefile
# calls it: make package VERSION=1.2.3. Equal sources give equal bytes: every time
# in a package is that of the commit.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 022
go=${GO:-go} out=${OUT:-dist/out} archs=${ARCHS:-amd64 arm64}
release=$(sed -n 's/^var release = "\(.*\)"$/\1/p' cmd/berth/version.go)
commit=$(git log -1 --format=%h --abbrev=12)
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
# Between two versions: later than the one that is tagged, or before the first.
VERSION=${VERSION:-$(git describe --tags --match 'v[0-9]*' 2>/dev/null | sed 's/^v//; s/-/+/; s/-/./g' ||:)}
export VERSION=${VERSION:-$release~git$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d%H%M%S).$commit}
export MAINTAINER=${MAINTAINER:-Berth maintainers <berth@localhost.localdomain>}
mkdir -p "$out"
out=$(cd "$out" && pwd)
GOFLAGS='' $go -C dist/tools build -o "$out/.nfpm" github.com/goreleaser/nfpm/v2/cmd/nfpm

build() { # ARCH FILE
	CGO_ENABLED=0 GOOS=linux GOARCH=$1 $go build -trimpath -ldflags "-s -w $LDFLAGS -X=main.release=$VERSION" -o "$2" ./cmd/berth
}
host=$out/.host/berth # a program that runs here, for the completions
build "$($go env GOHOSTARCH)" "$host"
dist/man.sh "$out/man"

for ARCH in $archs; do
	export ARCH STAGE=$out/.stage/$ARCH
	rm -rf "$STAGE"
	usr=$STAGE/usr doc=$STAGE/usr/share/doc/berth
	install -d "$usr/bin" "$doc" "$usr/share/man/man1" "$usr/share/man/man5" "$usr/share/bash-completion/completions" \
		"$usr/share/zsh/vendor-completions" "$usr/share/fish/vendor_completions.d" "$usr/share/lintian/overrides"
	build "$ARCH" "$usr/bin/berth"
	install -D -m 644 dist/berth.service "$usr/lib/systemd/system/berth.service"
	install -D -m 644 dist/berth.sysusers "$usr/lib/sysusers.d/berth.conf"
	install -D -m 644 dist/berth.tmpfiles "$usr/lib/tmpfiles.d/berth.conf"
	install -m 644 dist/lintian-overrides "$usr/share/lintian/overrides/berth"

	"$host" completion bash >"$usr/share/bash-completion/completions/berth"
	"$host" completion zsh >"$usr/share/zsh/vendor-completions/_berth"
	"$host" completion fish >"$usr/share/fish/vendor_completions.d/berth.fish"
	cp "$out"/man/*.1 "$usr/share/man/man1/"
	cp "$out"/man/*.5 "$usr/share/man/man5/"

	git ls-files -z README.md ARCHITECTURE.md CHANGELOG.md SECURITY.md docs | xargs -0 -I{} install -D -m 644 {} "$doc/{}"
	mv "$doc/docs/berth.example.yaml" "$doc/"
	install -m 644 dist/berth-owner.conf "$doc/berth-owner.conf"
	install -D -m 644 -t "$doc/prometheus" dist/prometheus/*.yaml
	install -D -m 644 -t "$doc/grafana" dist/grafana/berth.json
	{
		printf 'berth (%s) unstable; urgency=medium\n\n' "$VERSION"
		awk -f dist/changelog.awk "$doc/CHANGELOG.md"
		printf '\n -- %s  %s\n' "$MAINTAINER" "$(date -u -R -d "@$SOURCE_DATE_EPOCH")"
	} >"$doc/changelog"
	rm "$doc/CHANGELOG.md" # is in changelog
	$go run dist/sbom.go "$usr/bin/berth" "$VERSION" "$doc/licences-of-modules" >"$doc/sbom.cdx.json"
	{
		printf 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: berth\n\n'
		printf 'Files: *\nCopyright: %s The Berth authors\nLicense: Apache-2.0\n On Debian systems, the text is in /usr/share/common-licenses/Apache-2.0.\n' "$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y)"
		printf ' .\n The licences of the modules in the program are in licences-of-modules.gz.\n'
	} >"$doc/copyright"
	install -m 644 LICENSE "$doc/LICENSE"
	gzip -9n "$doc/changelog" "$doc/licences-of-modules" "$usr"/share/man/man?/*
	find "$STAGE" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
	for format in deb rpm; do
		"$out/.nfpm" package --config dist/nfpm.yaml --packager $format --target "$out/"
	done
done
