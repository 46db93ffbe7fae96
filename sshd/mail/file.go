package mail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	iofs "io/fs"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"berth/sshd/privatefile"
)

// File is a Ledger of a server that is alone: a JSON object with the time until which
// each key is remembered. A file that cannot be read is an error, because mails would
// otherwise be sent twice. Several processes may use it: after an upgrade the one before
// still sends mails about events. The zero value with a Path is ready.
type File struct {
	Path string

	mu sync.Mutex
}

// open reads the file, and keeps others from using it until unlock is called: in this process
// and, with a lock of the folder, in others. The file itself is replaced at each change.
func (f *File) open() (all map[string]time.Time, unlock func(), err error) {
	f.mu.Lock()
	unlock = f.mu.Unlock
	if release, lockErr := privatefile.LockFolder(filepath.Dir(f.Path)); lockErr != nil {
		err = fmt.Errorf("state_file: %w", lockErr)
	} else {
		unlock = func() {
			release()
			f.mu.Unlock()
		}
		all, err = f.read()
	}
	if err != nil {
		unlock()
	}
	return all, unlock, err
}

// Turn implements Ledger: nobody else sends.
func (*File) Turn(context.Context, time.Duration) (bool, error) { return true, nil }

// EndTurn implements Ledger.
func (*File) EndTurn(context.Context) error { return nil }

// Claim implements Ledger. A key is there as long as it is in the file, whatever the
// clock says: it is removed when another one is recorded after its time.
func (f *File) Claim(_ context.Context, keep time.Duration, keys ...string) (bool, error) {
	all, unlock, err := f.open()
	if err != nil {
		return false, err
	}
	defer unlock()
	if slices.ContainsFunc(keys, func(k string) bool { return !all[k].IsZero() }) {
		return false, nil
	}
	if keep == 0 {
		return true, nil
	}
	now := time.Now()
	maps.DeleteFunc(all, func(_ string, until time.Time) bool { return until.Before(now) })
	for _, k := range keys {
		all[k] = now.Add(keep).UTC().Truncate(time.Second)
	}
	return true, f.write(all)
}

// Release implements Ledger.
func (f *File) Release(_ context.Context, keys ...string) error {
	all, unlock, err := f.open()
	if err != nil {
		return err
	}
	defer unlock()
	for _, k := range keys {
		delete(all, k)
	}
	return f.write(all)
}

// mostLedger is more than 100,000 people need.
const mostLedger = 64 << 20

func (f *File) read() (map[string]time.Time, error) {
	all := map[string]time.Time{}
	text, err := privatefile.Read(f.Path, privatefile.GroupReads, mostLedger)
	if errors.Is(err, iofs.ErrNotExist) {
		return all, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		return nil, fmt.Errorf("state_file: %s: %w", f.Path, err)
	}
	return all, nil
}

func (f *File) write(all map[string]time.Time) error {
	text, err := json.Marshal(all)
	if err == nil {
		_, err = privatefile.Replace(f.Path, append(text, '\n'))
	}
	if err != nil {
		return fmt.Errorf("state_file: %s: %w", f.Path, err)
	}
	return nil
}
