//go:build !linux

package main

import "errors"

const canPin = false

func pinThread(int, []int) error { return errors.ErrUnsupported }
