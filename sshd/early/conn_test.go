package early

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"
)

// A packet that fills the library's buffer exactly is flushed with one write of
// 4096 bytes, and nothing follows until the peer has answered.
func TestExactBufferIsNotHeldForever(t *testing.T) {
	client, server := pair(t)
	c := NewConn(server)
	defer c.Close()
	client.SetDeadline(time.Now().Add(time.Minute))
	w := bufio.NewWriterSize(c, libraryBuffer)
	for range 20 {
		want := bytes.Repeat([]byte{7}, libraryBuffer)
		w.Write(want)
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, libraryBuffer)
		if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("the peer did not get a packet of %d bytes: %v", libraryBuffer, err)
		}
	}
}

func TestWritesKeepOrder(t *testing.T) {
	client, server := pair(t)
	c := NewConn(server)
	rnd := rand.New(rand.NewPCG(1, 2))
	var want bytes.Buffer
	var wg sync.WaitGroup
	wg.Go(func() {
		defer c.Close()
		w := bufio.NewWriterSize(c, libraryBuffer)
		for range 2000 {
			p := make([]byte, rnd.IntN(40_000))
			if rnd.IntN(4) == 0 {
				p = p[:min(len(p), libraryBuffer)]
			}
			for i := range p {
				p[i] = byte(rnd.Uint32())
			}
			want.Write(p)
			w.Write(p)
			if err := w.Flush(); err != nil {
				t.Errorf("Flush = %v", err)
				return
			}
		}
	})
	got, err := io.ReadAll(client)
	wg.Wait()
	if err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("the peer got %d bytes (%v), want the %d written, in order", len(got), err, want.Len())
	}
}

func TestHalvesAreJoined(t *testing.T) {
	_, server := pair(t)
	c := NewConn(server)
	defer c.Close()
	c.w.armed = true // no timer in the way
	if n, err := c.Write(make([]byte, libraryBuffer)); n != libraryBuffer || err != nil || c.w.held == nil {
		t.Fatalf("first half: %d, %v, held %t; want it held", n, err, c.w.held != nil)
	}
	if n, err := c.Write(make([]byte, 28_700)); n != 28_700 || err != nil || c.w.held != nil {
		t.Errorf("second half: %d, %v, held %t; want both sent", n, err, c.w.held != nil)
	}
}

func TestCloseSendsWhatIsHeld(t *testing.T) {
	client, server := pair(t)
	c := NewConn(server)
	c.w.armed = true // no timer in the way
	c.Write(make([]byte, libraryBuffer))
	if err := c.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	if got, err := io.ReadAll(client); len(got) != libraryBuffer || err != nil {
		t.Errorf("the peer got %d bytes (%v), want %d", len(got), err, libraryBuffer)
	}
	if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write after Close = %v, want %v", err, net.ErrClosed)
	}
}

// Close does not wait for a peer that takes nothing.
func TestCloseOfFullSocket(t *testing.T) {
	_, server := pair(t)
	c := NewConn(server)
	server.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	for {
		if _, err := c.Write(make([]byte, 1<<20)); err != nil {
			break
		}
	}
	server.SetWriteDeadline(time.Time{})
	c.w.armed = true
	c.Write(make([]byte, libraryBuffer))
	if err := c.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
}

// A held write that cannot be sent is reported by the next one.
func TestLostWriteIsReported(t *testing.T) {
	_, server := pair(t)
	c := NewConn(server)
	c.w.armed = true
	c.Write(make([]byte, libraryBuffer))
	server.Close()
	c.w.Lock()
	c.w.send(c.tcp)
	c.w.Unlock()
	if n, err := c.Write([]byte("x")); n != 0 || !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write after a lost one = %d, %v; want %v", n, err, net.ErrClosed)
	}
}

// TestBrokenStreamStaysBroken loses the first part of a packet, of which nobody can say
// how much was sent: nothing may follow it.
func TestBrokenStreamStaysBroken(t *testing.T) {
	_, server := pair(t)
	c := NewConn(server)
	defer c.Close()
	c.w.armed = true // no timer in the way
	c.SetWriteDeadline(time.Now().Add(-time.Second))
	if n, err := c.Write(make([]byte, libraryBuffer)); n != libraryBuffer || err != nil {
		t.Fatalf("first part: %d, %v; want it held", n, err)
	}
	if _, err := c.Write([]byte("rest")); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the rest: %v, want that the deadline is over", err)
	}
	c.SetWriteDeadline(time.Time{})
	if _, err := c.Write([]byte("next")); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the next packet: %v, want the error of the one that was lost", err)
	}
}

// TestWriteAfterClose holds nothing back that can never be sent.
func TestWriteAfterClose(t *testing.T) {
	_, server := pair(t)
	c := NewConn(server)
	c.Close()
	if n, err := c.Write(make([]byte, libraryBuffer)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write after Close = %d, %v, want %v", n, err, net.ErrClosed)
	}
}

func TestReads(t *testing.T) {
	client, server := pair(t)
	c := NewConn(server)
	defer c.Close()
	want := make([]byte, 3<<20)
	rnd := rand.NewChaCha8([32]byte{})
	rnd.Read(want)
	var wg sync.WaitGroup
	wg.Go(func() {
		client.Write(want)
		client.CloseWrite()
	})
	var got bytes.Buffer
	p := make([]byte, 2*readSize)
	for i := 0; ; i++ {
		n, err := c.Read(p[:[]int{1, 4096, 28_700, len(p)}[i%4]])
		got.Write(p[:n])
		if err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("read %d bytes, want the %d sent", got.Len(), len(want))
	}
	if c.buf != nil {
		t.Error("at the end a buffer is kept, want none")
	}
}

func TestReadDeadline(t *testing.T) {
	client, server := pair(t)
	c := NewConn(server)
	defer c.Close()
	p := make([]byte, 10)
	c.SetReadDeadline(time.Now().Add(time.Millisecond))
	var ne net.Error
	if _, err := c.Read(p); !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() {
		t.Errorf("Read = %v, want a timeout", err)
	}
	c.SetReadDeadline(time.Time{})
	client.Write([]byte("on"))
	if n, err := c.Read(p); err != nil || string(p[:n]) != "on" {
		t.Errorf("Read after a timeout = %q, %v; want %q", p[:n], err, "on")
	}
}

func TestCloseEndsRead(t *testing.T) {
	_, server := pair(t)
	c := NewConn(server)
	done := make(chan error)
	go func() {
		_, err := c.Read(make([]byte, 10))
		done <- err
	}()
	c.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read of a closed connection = %v, want %v", err, net.ErrClosed)
	}
}

// A proxied connection has read more than its header.
type proxied struct {
	net.Conn
	ahead []byte
}

func (p *proxied) Read(b []byte) (int, error) {
	if len(p.ahead) == 0 {
		return p.Conn.Read(b)
	}
	n := copy(b, p.ahead)
	p.ahead = p.ahead[n:]
	return n, nil
}

func (p *proxied) TCPConn() (*net.TCPConn, bool) {
	tcp, ok := p.Conn.(*net.TCPConn)
	return tcp, ok
}

func TestCarrier(t *testing.T) {
	client, server := pair(t)
	client.Write([]byte(" more"))
	c, _, err := Look(&proxied{server, []byte("SSH-2.0-x\r\nand")}, ours, time.Time{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	const want = "SSH-2.0-x\r\nand more"
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Errorf("read %q (%v), want %q", got, err, want)
	}
	c.swallow = nil
	c.w.armed = true // no timer in the way
	if c.Write(make([]byte, libraryBuffer)); c.w.held == nil {
		t.Error("the first half of a packet was not held")
	}
	c.Close()
	if got, err := io.ReadAll(client); len(got) != libraryBuffer+len(ours)+2 || err != nil {
		t.Errorf("the peer got %d bytes (%v), want %d", len(got), err, libraryBuffer+len(ours)+2)
	}
}

// Connections that wait hold no buffers.
func TestIdleMemory(t *testing.T) {
	const n, limit = 50, 16 << 10
	conns := make([]*Conn, n)
	for i := range conns {
		client, server := pair(t)
		conns[i] = NewConn(server)
		client.Write([]byte("x"))
	}
	before := heap()
	var wg sync.WaitGroup
	for _, c := range conns {
		wg.Go(func() {
			p := make([]byte, 10)
			c.Read(p)
			c.Write(make([]byte, libraryBuffer))
			c.Read(p) // waits until the end
		})
	}
	var each int64
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); runtime.Gosched() {
		if each = (heap() - before) / n; each <= limit {
			break
		}
	}
	for _, c := range conns {
		c.Close()
	}
	wg.Wait()
	if each > limit {
		t.Errorf("a waiting connection costs %d bytes of heap, want no more than %d", each, limit)
	}
}

// heap is how many bytes are in use, without what pools keep.
func heap() int64 {
	for range 3 { // a pool survives one collection
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
