package policy

import "testing"

// TestQuotaOfRoot has a folder at "/" with a quota of its own: Explain names its rule.
func TestQuotaOfRoot(t *testing.T) {
	set := compile(t,
		Rule{Name: "limits", Limits: Quantity{Quota: &Amount[int64]{Value: new(int64(0))}}},
		Rule{Name: "folder", Folders: []Mount{{Path: "/", Host: "/srv", Quota: new(int64(1 << 30)), QuotaFiles: new(int64(7))}}})
	for _, v := range set.Explain(aliceFrom("10.1.2.3")).Values {
		want := map[string]string{"limits.quota": "1GiB", "limits.quota_files": "7"}[v.Key]
		if want != "" && (v.Value != want || v.Rule != "folder" || v.Note != "quota of the folder /") {
			t.Errorf("%+v, want %s of the rule folder", v, want)
		}
	}
}
