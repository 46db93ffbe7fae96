package main

import "fmt"

// logins logs in again and again, 16 at a time, until SFTP answers.
func logins(exchange string) func(*job) (result, error) {
	return func(j *job) (result, error) { return j.logins(exchange, j.bench.sizes.logins) }
}

// newestLogins is the same with the post-quantum exchange. An OpenSSH that
// lacks it gets its cheapest one: that is to its advantage.
func newestLogins(j *job) (result, error) {
	if j.target == j.bench.berth {
		return j.logins(mlkem768, j.bench.sizes.logins)
	}
	exchange, err := newestExchange(j.ctx)
	if err != nil {
		return result{}, err
	}
	r, err := j.logins(exchange, j.bench.sizes.logins)
	if exchange != mlkem768 {
		r.Note = "OpenSSH here has no mlkem768, it did " + exchange
	}
	return r, err
}

func (j *job) logins(exchange string, n int) (result, error) {
	config, err := j.target.client(exchange)
	if err != nil {
		return result{}, err
	}
	each, all, err := atOnce(n, 16, func(int) error {
		s, err := j.dial(config)
		if err == nil {
			s.Close()
		}
		return err
	})
	if err != nil {
		return result{}, err
	}
	return result{
		Value: float64(n) / all.Seconds(), Work: float64(n),
		Note: fmt.Sprintf("p99 %.0f ms", milliseconds(percentile(each, 0.99))),
	}, nil
}

// oneLogin is how long one login takes while nobody else logs in.
func oneLogin(j *job) (result, error) {
	config, err := j.target.client(curve25519)
	if err != nil {
		return result{}, err
	}
	n := j.bench.sizes.logins / 4
	open := make([]*session, n)
	each, _, err := atOnce(n, 1, func(i int) (err error) {
		open[i], err = j.dial(config)
		if i > 0 {
			open[i-1].Close()
		}
		return err
	})
	if err != nil {
		return result{}, err
	}
	open[n-1].Close()
	return result{
		Value: milliseconds(percentile(each, 0.5)), Work: float64(n),
		Note: fmt.Sprintf("p99 %.1f ms", milliseconds(percentile(each, 0.99))),
	}, nil
}
