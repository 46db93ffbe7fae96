package directory

import "testing"

// TestMostGroups has a person in more groups than Linux permits. The others do not count,
// and their number is reported.
func TestMostGroups(t *testing.T) {
	var groups []Group
	for i := range uint32(MaxGroups + 3) {
		groups = append(groups, Group{GID: 2 + i})
	}
	for _, tt := range []struct{ groups, cut int }{{MaxGroups + 3, 2}, {MaxGroups + 1, 0}, {5, 0}} { // one is the primary group
		p := NewPOSIX(1000, 2, groups[:tt.groups])
		if p.Cut != tt.cut || len(p.Groups) != tt.groups-1-tt.cut || p.Groups[0] != 3 || p.Err() != nil {
			t.Errorf("of %d groups %d count and %d are cut, want %d", tt.groups, len(p.Groups), p.Cut, tt.cut)
		}
	}
}
