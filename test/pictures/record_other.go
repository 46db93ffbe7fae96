//go:build !linux

package main

import "errors"

func record(string) error { return errors.New("recordings are made on Linux") }
