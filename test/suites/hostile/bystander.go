package main

import (
	"fmt"
	"sync"
	"time"
)

// A bystander is an honest session during all attacks.
type bystander struct {
	session *session
	stop    chan struct{}
	done    sync.WaitGroup

	mu  sync.Mutex
	err error
}

// patience is how long an honest session waits for an answer. It is long,
// because the machine of the test may be slow.
const patience = 5 * time.Second

func (t *target) newBystander() (*bystander, error) {
	s, err := t.session()
	if err != nil {
		return nil, err
	}
	b := &bystander{session: s, stop: make(chan struct{})}
	b.done.Go(func() {
		for {
			select {
			case <-b.stop:
				return
			case <-time.After(50 * time.Millisecond):
			}
			b.look(t.dir)
		}
	})
	return b, nil
}

func (b *bystander) look(dir string) {
	begin := time.Now()
	r, err := b.session.call(fxStat, str(dir))
	if err == nil && r.kind != fxAttrs {
		err = fmt.Errorf("stat is answered by packet %d", r.kind)
	}
	if took := time.Since(begin); err == nil && took > patience {
		err = fmt.Errorf("stat took %v", took)
	}
	if err != nil {
		b.mu.Lock()
		b.err = err
		b.mu.Unlock()
	}
}

// noticed returns what went wrong for the bystander since it was last asked.
func (b *bystander) noticed() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	err := b.err
	b.err = nil
	return err
}

func (b *bystander) close() {
	select {
	case <-b.stop:
		return
	default:
	}
	close(b.stop)
	b.done.Wait()
	b.session.end()
}
