package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// rate is the result of moving size bytes.
func rate(size int64, took time.Duration, client float64) result {
	return result{Value: float64(size) / 1e6 / took.Seconds(), Work: float64(size), Client: client}
}

// get fetches the big file and throws it away.
func get(o offer) func(*job) (result, error) {
	return func(j *job) (result, error) {
		took, cpu, err := j.sftp(o, "get "+j.target.remote(bigFile)+" /dev/null")
		return rate(j.bench.sizes.big, took, cpu), err
	}
}

// put sends the big file.
func put(o offer) func(*job) (result, error) {
	return func(j *job) (result, error) {
		return j.put(bigFile, j.bench.sizes.big, func(local, remote string) (time.Duration, float64, error) {
			return j.sftp(o, fmt.Sprintf("put %s %s", local, remote))
		})
	}
}

// put sends a file with send and looks at what has arrived.
func (j *job) put(file string, size int64, send func(local, remote string) (time.Duration, float64, error)) (result, error) {
	dir, remove, err := j.bench.upload()
	if err != nil {
		return result{}, err
	}
	defer remove()
	name := dir + "/" + file
	took, cpu, err := send(j.bench.host(file), j.target.remote(name))
	if err != nil {
		return result{}, err
	}
	return rate(size, took, cpu), j.bench.wantSize(name, size)
}

// eight is how many clients the workloads for several have.
const eight = 8

func getEight(j *job) (result, error) {
	return j.eight(func(int) (float64, error) {
		_, cpu, err := j.sftp(aes128, "get "+j.target.remote(eighthFile)+" /dev/null")
		return cpu, err
	})
}

func putEight(j *job) (result, error) {
	dir, remove, err := j.bench.upload()
	if err != nil {
		return result{}, err
	}
	defer remove()
	return j.eight(func(i int) (float64, error) {
		name := fmt.Sprintf("%s/%d", dir, i)
		_, cpu, err := j.sftp(aes128, fmt.Sprintf("put %s %s", j.bench.host(eighthFile), j.target.remote(name)))
		if err != nil {
			return 0, err
		}
		return cpu, j.bench.wantSize(name, j.bench.sizes.eighth)
	})
}

// eight runs clients at once and adds them up.
func (j *job) eight(client func(i int) (cpu float64, err error)) (result, error) {
	var mu sync.Mutex
	var cpu float64
	_, took, err := atOnce(eight, eight, func(i int) error {
		used, err := client(i)
		mu.Lock()
		defer mu.Unlock()
		cpu += used
		return err
	})
	return rate(eight*j.bench.sizes.eighth, took, cpu), err
}

// fileRate is the result of moving the small files.
func (j *job) fileRate(took time.Duration, client float64) result {
	n := float64(j.bench.sizes.small)
	return result{Value: n / took.Seconds(), Work: n, Client: client}
}

func putSmall(j *job) (result, error) {
	return j.putSmall(func(dir string) (time.Duration, float64, error) {
		return j.sftp(aes128, fmt.Sprintf("put -R %s %s", j.bench.host(smallDir), j.target.remote(dir)))
	})
}

func getSmall(j *job) (result, error) {
	return j.getSmall(func(local string) (time.Duration, float64, error) {
		return j.sftp(aes128, fmt.Sprintf("get -R %s %s", j.target.remote(smallDir), local))
	})
}

func scpPutSmall(j *job) (result, error) {
	return j.putSmall(func(dir string) (time.Duration, float64, error) {
		return j.scp("-r", j.bench.host(smallDir), j.scpRemote(dir))
	})
}

func scpGetSmall(j *job) (result, error) {
	return j.getSmall(func(local string) (time.Duration, float64, error) {
		return j.scp("-r", j.scpRemote(smallDir), local)
	})
}

func (j *job) putSmall(send func(dir string) (time.Duration, float64, error)) (result, error) {
	dir, remove, err := j.bench.upload()
	if err != nil {
		return result{}, err
	}
	defer remove()
	took, cpu, err := send(dir)
	if err != nil {
		return result{}, err
	}
	return j.fileRate(took, cpu), wantEntries(j.bench.host(dir+"/"+smallDir), j.bench.sizes.small)
}

func (j *job) getSmall(fetch func(local string) (time.Duration, float64, error)) (result, error) {
	local := filepath.Join(j.bench.dir, "fetched")
	if err := os.Mkdir(local, 0o700); err != nil {
		return result{}, err
	}
	defer os.RemoveAll(local)
	took, cpu, err := fetch(local)
	if err != nil {
		return result{}, err
	}
	return j.fileRate(took, cpu), wantEntries(filepath.Join(local, smallDir), j.bench.sizes.small)
}

func scpGet(j *job) (result, error) {
	took, cpu, err := j.scp(j.scpRemote(bigFile), "/dev/null")
	return rate(j.bench.sizes.big, took, cpu), err
}

func scpPut(j *job) (result, error) {
	return j.put(bigFile, j.bench.sizes.big, func(local, _ string) (time.Duration, float64, error) {
		return j.scp(local, j.scpRemote(uploadDir+"/"+bigFile))
	})
}

// list prints the long directory, with the given command of sftp.
func list(command string) func(*job) (result, error) {
	return func(j *job) (result, error) {
		grown := growth(j.target.process.pid())
		took, cpu, err := j.sftp(aes128, command+" "+j.target.remote(listDir))
		mib := grown()
		n := float64(j.bench.sizes.list)
		return result{Value: n / took.Seconds(), Work: n, Client: cpu, Growth: mib}, err
	}
}
