package early

import (
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

func TestWritesKeepOrder(t *testing.T) {
	client, server := pair(t)
	c := newConn(server)
	rnd := rand.New(rand.NewPCG(1, 2))
	var want bytes.Buffer
	var wg sync.WaitGroup
	wg.Go(func() {
		defer c.Close()
		for i := range 2000 {
			p := make([]byte, rnd.IntN(40_000))
			for i := range p {
				p[i] = byte(rnd.Uint32())
			}
			want.Write(p)
			err := error(nil)
			if i%3 == 0 {
				_, err = c.Write(p)
			} else {
				err = c.WriteBuffers(net.Buffers{p[:len(p)/3], p[len(p)/3:]})
			}
			if err != nil {
				t.Errorf("write %d: %v", i, err)
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

func TestReads(t *testing.T) {
	client, server := pair(t)
	c := newConn(server)
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
	c := newConn(server)
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
	c := newConn(server)
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
	if _, err := io.WriteString(c, ours+"\r\n"); err != nil {
		t.Errorf("Write of our identification = %v", err)
	}
	if err := c.WriteBuffers(net.Buffers{[]byte("pack"), []byte("et")}); err != nil || c.tcp == nil {
		t.Errorf("WriteBuffers = %v, to the socket itself: %t", err, c.tcp != nil)
	}
	c.Close()
	if got, err := io.ReadAll(client); string(got) != ours+"\r\npacket" || err != nil {
		t.Errorf("the peer got %q (%v), want our identification once, and the packet", got, err)
	}
}

// Connections that wait hold no buffers.
func TestIdleMemory(t *testing.T) {
	const n, limit = 50, 16 << 10
	conns := make([]*Conn, n)
	for i := range conns {
		client, server := pair(t)
		conns[i] = newConn(server)
		client.Write([]byte("x"))
	}
	before := heap()
	var wg sync.WaitGroup
	for _, c := range conns {
		wg.Go(func() {
			p := make([]byte, 10)
			c.Read(p)
			c.Write(make([]byte, 4096))
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
