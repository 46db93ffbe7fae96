# make demo       build and run the main job, with sample people
# make test       unit, conformance and end-to-end tests (installs OpenSSH, slapd and the like if missing)
# make test-peers the same and heavier peers: Samba AD, 389 DS, a KDC, a zoo of clients, faults, hostile clients
# make lint       formatting, vet, staticcheck, go.mod
# make bench      Berth beside OpenSSH, as ratios;  make bench-quick in under a minute
# make bench-logins  logins by password and key against slapd, with CPU time
# make pictures  draws docs/pictures/*.txt;  make recording  records the demonstration (port 2022 must be free)
# make fuzz       every fuzz target for FUZZTIME each

GO       ?= go
FUZZTIME ?= 30s
OUT      ?= berth

# Sets a default of GODEBUG. The monitor thread of Go's runtime then naps instead
# of sleeping, and need not be woken at each request. Without it the server is
# correct and slower: docs/adr/0005-a-quiet-scheduler.md.
LDFLAGS = -X=runtime.godebugDefault=schedtrace=2147483647

.PHONY: build demo test test-peers lint bench bench-quick bench-logins fuzz docs pictures recording

build:
	$(GO) build $(BUILDFLAGS) -ldflags "$(LDFLAGS)" -o $(OUT) ./cmd/berth

demo: build
	./berth demo

test:
	test/packages.sh base
	$(GO) test -race -parallel 4 -timeout 20m ./...
	$(GO) test -run Allocate -count 1 ./sshd/sftp ./sshd/scp # the race detector makes pools allocate

test-peers:
	test/packages.sh base peers
	BERTH_PEERS=openldap,samba,389ds,kdc,suites $(GO) test -race -parallel 4 -timeout 40m -count=1 ./directory/... ./sshd/... ./test/...
	$(GO) test -run Allocate -count 1 ./sshd/sftp ./sshd/scp

lint:
	@test -z "$$($(GO) tool gofumpt -l . | tee /dev/stderr)" || { echo "run: go tool gofumpt -w ." >&2; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) mod tidy -diff
	GOOS=linux GOARCH=arm64 $(GO) build ./...

bench bench-quick:
	test/packages.sh base
	$(GO) run ./test/bench $(if $(filter bench-quick,$@),-quick)

bench-logins:
	test/packages.sh base
	$(GO) test -run - -bench Logins -benchtime 2000x -count 3 ./test

fuzz:
	test/fuzz.sh $(FUZZTIME)

docs:
	$(GO) test ./config ./sshd/event -update
	$(GO) test ./sshd/sftp -run TestPage -update

pictures:
	$(GO) run ./test/pictures

recording: build
	$(GO) run ./test/pictures record
