package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// randomReads has 64 reads of 32 KiB outstanding in one session, at random
// places of the big file.
func randomReads(j *job) (result, error) {
	const outstanding, size = 64, 32 << 10
	sessions, err := j.sessions(1, 1)
	if err != nil {
		return result{}, err
	}
	defer closeAll(sessions)
	f, err := sessions[0].Open(j.target.remote(bigFile))
	if err != nil {
		return result{}, err
	}
	defer f.Close()
	n := j.bench.sizes.reads
	blocks := (j.bench.sizes.big - size) / 4096
	j.meter.start() // the login does not count
	_, took, err := atOnce(n, outstanding, func(int) error {
		buf := make([]byte, size)
		_, err := f.ReadAt(buf, rand.Int64N(blocks)*4096)
		return err
	})
	j.meter.stop()
	if err != nil {
		return result{}, err
	}
	return rate(int64(n)*size, took, 0), nil
}

// stats asks for the attributes of one file, in so many sessions at once. Its value is
// the mean: of a server with a process for each session, those that the kernel favours
// answer most, and the median would be theirs.
func stats(sessions int) func(*job) (result, error) {
	return func(j *job) (result, error) {
		open, err := j.sessions(sessions, 4)
		defer closeAll(open)
		if err != nil {
			return result{}, err
		}
		name := j.target.remote(bigFile)
		each := j.bench.sizes.stats / sessions
		answers := make([][]time.Duration, sessions)
		j.meter.start() // the logins do not count
		_, took, err := atOnce(sessions, sessions, func(i int) (err error) {
			answers[i], _, err = atOnce(each, 1, func(int) error {
				_, err := open[i].Stat(name)
				return err
			})
			return err
		})
		j.meter.stop()
		if err != nil {
			return result{}, err
		}
		all := slices.Concat(answers...)
		slices.Sort(all)
		n := float64(len(all))
		return result{
			Value: microseconds(took) * float64(sessions) / n, Work: n,
			Note: fmt.Sprintf("median %.0f, p99 %.0f us", microseconds(percentile(all, 0.5)), microseconds(percentile(all, 0.99))),
		}, nil
	}
}
