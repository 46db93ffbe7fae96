package fs

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A ring is an io_uring(7) that opens files as persons. The kernel knows the credentials
// of a person by a number. An open with the number is checked as if a thread with these
// credentials had asked, and no thread has to change:
//
//	register:  a thread that is the person -> the kernel remembers its credentials: 7
//	open:      any thread: "open /x for 7" -> a handle, or what the disk says to the person
//
// The kernel answers at once if it has the answer in memory. If it must ask the file
// system, it uses threads of its own, at most one for each thread that asks.
type ring struct {
	mu     sync.Mutex // one open at a time
	fd     int
	broken bool // no answer came; never used again

	tail   *uint32 // of the queue of requests
	head   *uint32 // of the queue of answers
	answer *uint32 // tail of that queue
	req    *ringRequest
	got    *[ringAnswers]ringAnswer

	// The kernel reads them by address. They are here because the heap does not move.
	how  unix.OpenHow
	name [maxName + 1]byte
}

// Parts of linux/io_uring.h: io_uring_sqe, io_uring_cqe and io_uring_params.
type (
	ringRequest struct {
		opcode, _   uint8
		_           uint16
		dir         int32
		how, name   uint64
		size, _     uint32
		_           uint64
		_           uint16
		personality uint16
		_           [20]byte
	}
	ringAnswer struct {
		_      uint64
		result int32
		_      uint32
	}
	ringParams struct {
		requests, answers, _, _, _, features, _ uint32
		_                                       [3]uint32
		requestQueue                            struct{ _, tail, _, _, _, _, array, _, _, _ uint32 }
		answerQueue                             struct{ head, tail, _, _, _, entries, _, _, _, _ uint32 }
	}
)

const (
	ringAnswers         = 2 // the kernel makes two for one request
	ringOpenat2         = 28
	ringWait            = 1           // IORING_ENTER_GETEVENTS
	ringFeatures        = 1<<0 | 1<<9 // IORING_FEAT_SINGLE_MMAP; and _NATIVE_WORKERS: threads of the kernel have umask and limits of this process
	ringRequestsAt      = 0x10000000
	ringSetPersonality  = 9
	ringDropPersonality = 10
)

// rings are those of this process. There are none where the kernel or the administrator
// does not permit them. An open that finds all of them busy is done by an actor. There
// are more than processors, because a thread may lose its processor within an open.
var rings = sync.OnceValue(func() (all []*ring) {
	for range min(4*runtime.GOMAXPROCS(0), 32) {
		r, err := newRing()
		if err != nil {
			return nil
		}
		all = append(all, r)
	}
	return all
})

func newRing() (*ring, error) {
	var p ringParams
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&p)), 0)
	if errno != 0 {
		return nil, errno
	}
	r := &ring{fd: int(fd)}
	err := r.share(&p)
	if err == nil {
		err = r.try()
	}
	if err != nil {
		return nil, errors.Join(err, unix.Close(r.fd))
	}
	return r, nil
}

// share maps the memory that this process and the kernel share.
func (r *ring) share(p *ringParams) error {
	if p.features&ringFeatures != ringFeatures || p.answers != ringAnswers {
		return unix.ENOSYS
	}
	length := max(uintptr(p.requestQueue.array)+4, uintptr(p.answerQueue.entries)+unsafe.Sizeof(*r.got))
	const access, flags = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_SHARED | unix.MAP_POPULATE
	queues, err := unix.Mmap(r.fd, 0, int(length), access, flags)
	if err != nil {
		return err
	}
	requests, err := unix.Mmap(r.fd, ringRequestsAt, int(unsafe.Sizeof(*r.req)), access, flags)
	if err != nil {
		return errors.Join(err, unix.Munmap(queues))
	}
	r.tail = (*uint32)(unsafe.Pointer(&queues[p.requestQueue.tail]))
	r.head = (*uint32)(unsafe.Pointer(&queues[p.answerQueue.head]))
	r.answer = (*uint32)(unsafe.Pointer(&queues[p.answerQueue.tail]))
	r.got = (*[ringAnswers]ringAnswer)(unsafe.Pointer(&queues[p.answerQueue.entries]))
	r.req = (*ringRequest)(unsafe.Pointer(&requests[0]))
	return nil
}

// try opens the root directory with the credentials of this process.
func (r *ring) try() error {
	own, err := r.register()
	if err != nil {
		return err
	}
	defer r.forget(&own)
	fd, err, answered := r.open(&own, unix.AT_FDCWD, "/", unix.O_PATH|unix.O_CLOEXEC, 0)
	if !answered {
		return unix.ENOSYS
	}
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// register returns a number for the credentials that this thread has.
func (r *ring) register() (number uint16, err error) {
	n, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(r.fd), ringSetPersonality, 0, 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return uint16(n), nil
}

// forget ends the use of a number. The kernel may then give the number to
// somebody else, so it is changed to 0, under the lock with which open reads it.
func (r *ring) forget(number *uint16) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if *number != 0 {
		_, _, _ = unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(r.fd), ringDropPersonality, 0, uintptr(*number), 0, 0)
		*number = 0
	}
}

// open is byKernel as the person with the number. A ring that is in use, or broken, does
// not answer.
func (r *ring) open(number *uint16, root int, name string, flags int, mode uint32) (fd int, err error, answered bool) {
	if !r.mu.TryLock() {
		return -1, nil, false
	}
	defer r.mu.Unlock()
	if r.broken || *number == 0 {
		return -1, nil, false
	}
	r.name[copy(r.name[:maxName], name)] = 0
	r.how = unix.OpenHow{Flags: uint64(flags), Mode: uint64(mode), Resolve: confined}
	*r.req = ringRequest{
		opcode: ringOpenat2, dir: int32(root), personality: *number,
		name: uint64(uintptr(unsafe.Pointer(&r.name))), how: uint64(uintptr(unsafe.Pointer(&r.how))), size: uint32(unsafe.Sizeof(r.how)),
	}
	atomic.AddUint32(r.tail, 1)
	if fd, answered = r.wait(); !answered {
		r.broken = true
		return -1, nil, false
	}
	if fd < 0 {
		return -1, unix.Errno(-fd), true
	}
	return fd, nil, true
}

// wait gives the request to the kernel and waits for the answer.
func (r *ring) wait() (result int, answered bool) {
	for requests := uintptr(1); ; {
		taken, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), requests, 1, ringWait, 0, 0)
		if head := atomic.LoadUint32(r.head); head != atomic.LoadUint32(r.answer) {
			result = int(r.got[head%ringAnswers].result)
			atomic.StoreUint32(r.head, head+1)
			return result, true
		}
		switch errno {
		case 0:
			requests -= taken
		case unix.EINTR:
		default:
			return 0, false
		}
	}
}
