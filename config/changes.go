package config

import "reflect"

// Changed returns the keys of the file in which next differs from cfg.
func (cfg *Config) Changed(next *Config) []string {
	var keys []string
	now, then := reflect.ValueOf(*cfg), reflect.ValueOf(*next)
	for f, value := range now.Fields() {
		key := f.Tag.Get("mapstructure")
		if key == "" || key == "-" {
			continue
		}
		if !reflect.DeepEqual(value.Interface(), then.FieldByIndex(f.Index).Interface()) {
			keys = append(keys, key)
		}
	}
	return keys
}
