package sshd

import (
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"

	"golang.org/x/crypto/ssh"
)

// aWire gives as many bytes as are asked for.
type aWire struct{ net.Conn }

func (aWire) Read(p []byte) (int, error) { return len(p), nil }

// aChannel gives what its reader does, and the same as standard error.
type aChannel struct {
	ssh.Channel
	data, stderr io.Reader
}

func (c aChannel) Read(p []byte) (int, error) { return c.data.Read(p) }
func (c aChannel) Stderr() io.ReadWriter {
	return struct {
		io.Reader
		io.Writer
	}{c.stderr, io.Discard}
}

// full is a channel that always has more.
type full struct{}

func (full) Read(p []byte) (int, error) { return len(p), nil }

// nothing is an empty channel at its end.
type nothing struct{}

func (nothing) Read([]byte) (int, error) { return 0, io.EOF }

// A meterCase is a conversation on one channel of a meter: receive is what comes
// off the wire, take what the service reads, both in bytes.
type meterCase struct {
	m *meter
	c *meteredChannel
}

func (mc meterCase) receive(n int) error {
	p := make([]byte, 256<<10)
	for ; n > 0; n -= len(p) {
		if _, err := mc.m.Read(p[:min(n, len(p))]); err != nil {
			return err
		}
	}
	return nil
}

func (mc meterCase) take(n int) error {
	_, err := mc.c.Read(make([]byte, n))
	return err
}

func TestMeter(t *testing.T) {
	const mib = 1 << 20
	tests := map[string]struct {
		data io.Reader
		do   func(mc meterCase) error
		over bool
	}{
		"a service that takes nothing": {full{}, func(mc meterCase) error { return mc.receive(maxUnread + 2*mib) }, true},
		"as much as the windows hold":  {full{}, func(mc meterCase) error { return mc.receive(10*windowSize + mib) }, false},
		"an upload that is never caught up with": {full{}, func(mc meterCase) error {
			errs := []error{mc.receive(windowSize)} // is always behind by this much
			for range 1000 {                        // and 5 % of heads and padding
				errs = append(errs, mc.receive(mib), mc.take(mib-mib/20))
			}
			return errors.Join(errs...)
		}, false},
		"a service that takes less and less": {full{}, func(mc meterCase) error {
			errs := []error{mc.receive(windowSize)}
			for range 1000 {
				errs = append(errs, mc.receive(mib), mc.take(mib/36))
			}
			return errors.Join(errs...)
		}, true},
		"a service that has all there is": {nothing{}, func(mc meterCase) error {
			var errs []error
			for range 100 { // of messages that are not for it
				errs = append(errs, mc.receive(20*mib))
				mc.take(1)
			}
			return errors.Join(errs...)
		}, false},
		"a service that has ended": {full{}, func(mc meterCase) error {
			mc.c.forget()
			return mc.receive(10 * maxUnread)
		}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				over := false
				mc := meterCase{m: newMeter(aWire{}, func() { over = true })}
				mc.c = mc.m.channel(aChannel{data: tt.data, stderr: nothing{}})
				err := tt.do(mc)
				synctest.Wait()
				if over != tt.over || errors.Is(err, errUnread) != tt.over {
					t.Errorf("ended: %t, %v; want %t", over, err, tt.over)
				}
			})
		})
	}
}

// TestMeterOfWaitingService has a service wait while much else happens on the
// connection, and then data that it has no use for.
func TestMeterOfWaitingService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mc := meterCase{m: newMeter(aWire{}, func() { t.Error("the connection was ended") })}
		in, client := io.Pipe()
		errs, clientErrs := io.Pipe()
		mc.c = mc.m.channel(aChannel{data: in, stderr: errs})
		done := make(chan error)
		go func() { done <- mc.take(10) }()
		synctest.Wait()
		if err := mc.receive(3 * maxUnread); err != nil {
			t.Error(err)
		}
		for range 100 {
			clientErrs.Write(make([]byte, 1000)) // would block if nobody took it
		}
		synctest.Wait()
		if mc.m.taken != 100*1000 {
			t.Errorf("%d bytes of standard error were taken, want 100,000", mc.m.taken)
		}
		client.Close()
		clientErrs.Close()
		<-done
	})
}
