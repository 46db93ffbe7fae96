package config

import "reflect"

// Changed returns the keys of the file in which next differs from cfg, such as
// ssh.idle. What is in a list is named by the list.
func (cfg *Config) Changed(next *Config) []string {
	var keys []string
	var compare func(prefix string, now, then reflect.Value)
	compare = func(prefix string, now, then reflect.Value) {
		for f, value := range now.Fields() {
			key, other := f.Tag.Get("mapstructure"), then.FieldByIndex(f.Index)
			switch {
			case key == "-":
			case key == ",squash":
				compare(prefix, value, other)
			case isStruct(f.Type):
				compare(prefix+key+".", value, other)
			case !reflect.DeepEqual(value.Interface(), other.Interface()):
				keys = append(keys, prefix+key)
			}
		}
	}
	compare("", reflect.ValueOf(*cfg), reflect.ValueOf(*next))
	return keys
}
