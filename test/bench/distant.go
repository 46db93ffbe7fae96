package main

import (
	"fmt"
	"net"
	"sync"
	"time"
)

// distantGet and distantPut are transfers of clients with a round-trip time of
// trip.
func distantGet(trip time.Duration) func(*job) (result, error) {
	return func(j *job) (result, error) { return j.distantGet(trip) }
}

func distantPut(trip time.Duration) func(*job) (result, error) {
	return func(j *job) (result, error) { return j.distantPut(trip) }
}

func (j *job) distantGet(trip time.Duration) (result, error) {
	return j.distant(trip, func(d *job) (time.Duration, float64, error) {
		return d.sftp(aes128, "get "+d.target.remote(distantFile)+" /dev/null")
	})
}

func (j *job) distantPut(trip time.Duration) (result, error) {
	dir, remove, err := j.bench.upload()
	if err != nil {
		return result{}, err
	}
	defer remove()
	name := dir + "/" + distantFile
	r, err := j.distant(trip, func(d *job) (time.Duration, float64, error) {
		return d.sftp(aes128, fmt.Sprintf("put %s %s", d.bench.host(distantFile), d.target.remote(name)))
	})
	if err != nil {
		return result{}, err
	}
	return r, j.bench.wantSize(name, j.bench.sizes.distant)
}

// distant runs a transfer over a long line. What a login takes is measured
// first and does not count.
func (j *job) distant(trip time.Duration, transfer func(*job) (time.Duration, float64, error)) (result, error) {
	l, err := longLine(j.target.addr, trip/2)
	if err != nil {
		return result{}, err
	}
	defer l.close()
	away, far := *j, *j.target
	far.addr = l.addr()
	away.target = &far
	login, _, err := away.sftp(aes128, "pwd")
	if err != nil {
		return result{}, err
	}
	took, cpu, err := transfer(&away)
	r := rate(j.bench.sizes.distant, took-login, cpu)
	r.Note = fmt.Sprintf("login %.0f ms", milliseconds(login))
	return r, err
}

// A line forwards connections and holds every byte for a while in each
// direction. It has no limit of its own: what limits is how much the two ends
// send before they want an answer.
type line struct {
	listener net.Listener
	to       string
	delay    time.Duration // one way
	running  sync.WaitGroup
}

func longLine(to string, delay time.Duration) (*line, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l := &line{listener: listener, to: to, delay: delay}
	l.running.Go(l.accept)
	return l, nil
}

func (l *line) addr() string { return l.listener.Addr().String() }

// close ends the line when its clients have left.
func (l *line) close() {
	l.listener.Close()
	l.running.Wait()
}

func (l *line) accept() {
	for {
		near, err := l.listener.Accept()
		if err != nil {
			return
		}
		l.running.Go(func() { l.forward(near) })
	}
}

func (l *line) forward(near net.Conn) {
	defer near.Close()
	far, err := net.Dial("tcp", l.to)
	if err != nil {
		return // the client sees its connection closed
	}
	defer far.Close()
	var both sync.WaitGroup
	both.Go(func() { l.carry(near.(*net.TCPConn), far.(*net.TCPConn)) })
	both.Go(func() { l.carry(far.(*net.TCPConn), near.(*net.TCPConn)) })
	both.Wait()
}

// A parcel is bytes on their way.
type parcel struct {
	due   time.Time
	bytes []byte
}

// carry moves bytes until from ends or to takes no more.
func (l *line) carry(from, to *net.TCPConn) {
	const piece, onTheWay = 64 << 10, 1 << 16
	way := make(chan parcel, onTheWay)
	var delivering sync.WaitGroup
	delivering.Go(func() {
		for p := range way {
			time.Sleep(time.Until(p.due))
			if _, err := to.Write(p.bytes); err != nil {
				from.CloseRead()
				break
			}
		}
		for range way { // the rest is not needed
		}
		to.CloseWrite()
	})
	for {
		buf := make([]byte, piece)
		n, err := from.Read(buf)
		if n > 0 {
			way <- parcel{time.Now().Add(l.delay), buf[:n]}
		}
		if err != nil {
			break
		}
	}
	close(way)
	delivering.Wait()
}
