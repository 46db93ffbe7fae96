package config

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"time"

	"github.com/go-viper/mapstructure/v2"

	"berth/directory/ldap"
	"berth/policy"
	"berth/sshd"
)

// hooks turn values of YAML and the environment into values of settings.
var hooks mapstructure.DecodeHookFunc = mapstructure.ComposeDecodeHookFunc(
	duration, size, amount, network, basic, requirement, list, text, shape, defaults,
)

// defaults sets the defaults of a directory before its keys are decoded.
func defaults(from, to reflect.Value) (any, error) {
	if to.Type() == reflect.TypeFor[ldap.Settings]() {
		to.Set(reflect.ValueOf(ldap.DefaultSettings()))
	}
	return from.Interface(), nil
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	stringType   = reflect.TypeFor[string]()
	errNeedsText = errors.New(`must be text: put it in quotes`)
	countType    = reflect.TypeFor[policy.Amount[int]]()
	sizeType     = reflect.TypeFor[policy.Amount[int64]]()
	timeType     = reflect.TypeFor[policy.Amount[time.Duration]]()
	prefixType   = reflect.TypeFor[netip.Prefix]()
)

// duration reads 30s. A number without a unit is refused, except 0.
func duration(_, to reflect.Type, data any) (any, error) {
	if to != durationType {
		return data, nil
	}
	switch data.(type) {
	case string, int:
		return policy.ParseTime(fmt.Sprint(data))
	}
	return nil, policy.ErrNoTime
}

// size reads 10MiB where an int64 is wanted, and auto for a window.
func size(from, to reflect.Type, data any) (any, error) {
	if from != stringType || to.Kind() != reflect.Int64 || to == durationType {
		return data, nil
	}
	if to == reflect.TypeFor[sshd.Window]() && data == "auto" {
		return sshd.WindowAuto, nil
	}
	return policy.ParseSize(data.(string))
}

// amount reads 10MiB, "%{attribute}", and both.
func amount(_, to reflect.Type, data any) (any, error) {
	switch to {
	case countType:
		return amountOf[int](data)
	case sizeType:
		return amountOf[int64](data)
	case timeType:
		return amountOf[time.Duration](data)
	}
	return data, nil
}

func amountOf[T policy.Measure](data any) (any, error) {
	if n, ok := data.(int); ok && (n == 0 || reflect.TypeFor[T]() != durationType) {
		return policy.Amount[T]{Value: new(T(n))}, nil
	}
	switch data.(type) {
	case string, int:
		a, err := policy.ParseAmount[T](fmt.Sprint(data))
		if err != nil {
			return nil, err
		}
		return *a, nil
	}
	return nil, kindInWords(reflect.TypeFor[T]())
}

// network reads 10.0.0.0/8, and an address as a network of one.
func network(from, to reflect.Type, data any) (any, error) {
	if from != stringType || to != prefixType {
		return data, nil
	}
	return policy.ParseNetwork(data.(string))
}

// basic reads numbers, true and false from the environment, where every value is text.
func basic(from, to reflect.Type, data any) (any, error) {
	if from != stringType {
		return data, nil
	}
	switch to.Kind() {
	case reflect.Int:
		return policy.ParseNumber(data.(string))
	case reflect.Bool:
		if s := data.(string); s != "true" && s != "false" {
			return nil, errors.New("must be true or false")
		}
		return data == "true", nil
	}
	return data, nil
}

// requirement reads a single method, one alternative such as [publickey, password], and a
// list of alternatives.
func requirement(_, to reflect.Type, data any) (any, error) {
	if to != reflect.TypeFor[policy.Require]() {
		return data, nil
	}
	switch v := data.(type) {
	case string:
		return [][]string{{v}}, nil
	case []any:
		lists := 0
		for _, e := range v {
			if _, list := e.([]any); list {
				lists++
			}
		}
		switch {
		case lists == 0 && len(v) > 0:
			return []any{v}, nil
		case lists < len(v):
			return nil, errors.New("has methods and lists of methods: write [publickey, password] if both are needed, or [[publickey], [password]] if one is enough")
		}
	}
	return data, nil
}

// isStruct reports whether t is written as keys with values.
func isStruct(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && t != prefixType && t != countType && t != sizeType && t != timeType
}

// isSection reports whether t is keys with values, or a list of these. It may have no value:
// all its keys may be commented out.
func isSection(t reflect.Type) bool {
	return isStruct(t) || t.Kind() == reflect.Slice && isStruct(t.Elem())
}

// list reads a single text, network or number as a list of one.
func list(from, to reflect.Type, data any) (any, error) {
	if to.Kind() != reflect.Slice {
		return data, nil
	}
	number := to.Elem().Kind() == reflect.Int
	if from == stringType && (to.Elem() == stringType || to.Elem() == prefixType || number) || from.Kind() == reflect.Int && number {
		return []any{data}, nil
	}
	return data, nil
}

// text refuses a number where a text is wanted: YAML reads 027 as 23.
func text(from, to reflect.Type, data any) (any, error) {
	if to.Kind() != reflect.String {
		return data, nil
	}
	switch from.Kind() {
	case reflect.Int, reflect.Int64, reflect.Uint64, reflect.Float64, reflect.Bool:
		return nil, errNeedsText
	}
	return data, nil
}

// shape refuses other values where a list or keys are wanted.
func shape(from, to reflect.Type, data any) (any, error) {
	switch {
	case to.Kind() == reflect.Struct && from.Kind() != reflect.Map && from != to,
		to.Kind() == reflect.Slice && from.Kind() != reflect.Slice:
		return nil, kindInWords(to)
	}
	return data, nil
}

// kindInWords says what an administrator has to write for a value of type t.
func kindInWords(t reflect.Type) error {
	if t == durationType {
		return policy.ErrNoTime
	}
	switch t.Kind() {
	case reflect.Slice:
		return errors.New("must be a list, as in [a, b]")
	case reflect.Struct, reflect.Map:
		return errors.New("must be keys with values, as in {key: value}")
	case reflect.Bool:
		return errors.New("must be true or false")
	case reflect.Int, reflect.Int64:
		return errors.New("must be a number")
	default:
		return errNeedsText
	}
}
