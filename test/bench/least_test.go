package main

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkLeast measures the CPU time that a server needs at least for a GB of one
// file: it reads and writes packets of 32 KiB on a loopback connection, does
// AES-128-GCM, and reads or writes a file in memory. There is no SSH, no SFTP and no
// scheduler in it: one thread makes blocking system calls, and only its time counts.
func BenchmarkLeast(b *testing.B) {
	const size, rounds = 32 << 10, 256 << 20 / (32 << 10)
	block, err := aes.NewCipher(make([]byte, 16))
	if err != nil {
		b.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		b.Fatal(err)
	}
	nonce := make([]byte, gcm.NonceSize())
	packet := gcm.Seal(nil, nonce, make([]byte, size), nil)

	b.Run("put", func(b *testing.B) {
		least(b, true, func(peer net.Conn) {
			for range rounds {
				if _, err := peer.Write(packet); err != nil {
					b.Error(err)
					return
				}
			}
		}, func(socket, file *os.File) error {
			buf := make([]byte, len(packet))
			for i := range int64(rounds) {
				if _, err := io.ReadFull(socket, buf); err != nil {
					return err
				}
				data, err := gcm.Open(buf[:0], nonce, buf, nil)
				if err != nil {
					return err
				}
				if _, err := file.WriteAt(data, i*size); err != nil {
					return err
				}
			}
			return nil
		}, rounds*size)
	})
	b.Run("get", func(b *testing.B) {
		least(b, false, func(peer net.Conn) {
			if _, err := io.CopyN(io.Discard, peer, rounds*int64(len(packet))); err != nil {
				b.Error(err)
			}
		}, func(socket, file *os.File) error {
			buf := make([]byte, len(packet))
			for i := range int64(rounds) {
				if _, err := file.ReadAt(buf[:size], i*size); err != nil {
					return err
				}
				if _, err := socket.Write(gcm.Seal(buf[:0], nonce, buf[:size], nil)); err != nil {
					return err
				}
			}
			return nil
		}, rounds*size)
	})
}

// BenchmarkLeastTurn measures the CPU time that a server needs at least for a turn: the client
// waits for an answer, the server for the next request. A small file takes four turns.
func BenchmarkLeastTurn(b *testing.B) {
	const turns, size = 20_000, 64
	talk := func(c io.ReadWriter, speaks bool) error {
		message := make([]byte, size)
		for range turns {
			if speaks {
				if _, err := c.Write(message); err != nil {
					return err
				}
			}
			if _, err := io.ReadFull(c, message); err != nil {
				return err
			}
			if !speaks {
				if _, err := c.Write(message); err != nil {
					return err
				}
			}
		}
		return nil
	}
	var used int64
	for b.Loop() {
		server, client := connected(b)
		done := make(chan error)
		go func() { done <- talk(client, true) }()
		runtime.LockOSThread()
		before := threadTime(b)
		err := talk(server, false)
		used += threadTime(b) - before
		runtime.UnlockOSThread()
		if err := errors.Join(err, <-done); err != nil {
			b.Fatal(err)
		}
		server.Close()
		client.Close()
	}
	b.ReportMetric(float64(used)/float64(b.N)/turns/1e3, "cpu-us/turn")
}

// least runs serve with a connection to peer and a file in memory, and reports the CPU
// time of the thread that serves. The file holds the bytes unless they are put there.
func least(b *testing.B, put bool, peer func(net.Conn), serve func(socket, file *os.File) error, bytes int64) {
	var used int64
	for b.Loop() {
		server, client := connected(b)
		file, err := os.Create(filepath.Join(place(bytes), "berth-least"))
		if err != nil {
			b.Fatal(err)
		}
		for n := int64(0); !put && n < bytes; n += 1 << 20 {
			if _, err := file.Write(make([]byte, 1<<20)); err != nil {
				b.Fatal(err)
			}
		}
		done := make(chan struct{})
		go func() { defer close(done); peer(client) }()
		runtime.LockOSThread()
		before := threadTime(b)
		err = serve(server, file)
		used += threadTime(b) - before
		runtime.UnlockOSThread()
		if err != nil {
			b.Fatal(err)
		}
		<-done
		for _, c := range []io.Closer{server, client, file} {
			c.Close()
		}
		os.Remove(file.Name())
	}
	b.ReportMetric(float64(used)/float64(b.N)/float64(bytes), "cpu-s/GB")
}

// connected returns both ends of a loopback connection, the first one blocking.
func connected(b *testing.B) (*os.File, net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	defer server.Close()
	f, err := server.(*net.TCPConn).File() // a blocking one once Fd is called
	if err != nil {
		b.Fatal(err)
	}
	f.Fd()
	return f, client
}

// threadTime returns the CPU time of this thread in nanoseconds.
func threadTime(b *testing.B) int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		b.Fatal(err)
	}
	return t.Nano()
}
