package charts_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestJobsDoNotOverlapOrRepeat(t *testing.T) {
	cronJob := render(t, irsa).one("CronJob")
	for _, tt := range []struct {
		path []any
		want any
	}{
		{[]any{"spec", "schedule"}, "0 */12 * * *"},
		{[]any{"spec", "concurrencyPolicy"}, "Forbid"},
		{[]any{"spec", "startingDeadlineSeconds"}, 3600},
		{[]any{"spec", "jobTemplate", "spec", "backoffLimit"}, 0},
		{[]any{"spec", "jobTemplate", "spec", "activeDeadlineSeconds"}, 36000},
		{[]any{"spec", "jobTemplate", "spec", "ttlSecondsAfterFinished"}, nil},
		{[]any{"spec", "jobTemplate", "spec", "completionMode"}, nil},
		{[]any{"spec", "jobTemplate", "spec", "template", "spec", "restartPolicy"}, "Never"},
	} {
		if got := cronJob.at(tt.path...); got != tt.want {
			t.Errorf("%v is %v, want %v", tt.path, got, tt.want)
		}
	}
}

func TestShards(t *testing.T) {
	for _, tt := range []struct {
		values string
		set    []string
		want   object
	}{
		{job, nil, object{"completionMode": "Indexed", "completions": 1, "parallelism": 1, "backoffLimitPerIndex": 1}},
		{job, []string{"shards=3"}, object{"completionMode": "Indexed", "completions": 3, "parallelism": 3, "backoffLimitPerIndex": 1}},
		{shards, nil, object{"completionMode": "Indexed", "completions": 7, "parallelism": 3, "backoffLimitPerIndex": 2, "maxFailedIndexes": 3}},
	} {
		spec := jobSpec(render(t, tt.values, tt.set...).one(workloads[tt.values]))
		got := object{}
		// A backoffLimit beside backoffLimitPerIndex would end every shard with the first that fails.
		for _, key := range []string{"completionMode", "completions", "parallelism", "backoffLimit", "backoffLimitPerIndex", "maxFailedIndexes"} {
			if spec[key] != nil {
				got[key] = spec[key]
			}
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s %v (-want +got)\n%s", tt.values, tt.set, diff)
		}
	}
}

// Jobs cannot be changed, so a change needs another name.
func TestJobNameFollowsWhatItRuns(t *testing.T) {
	name := func(set ...string) any { return render(t, job, set...).one("Job").at("metadata", "name") }
	for _, set := range []string{"shards=2", `extraArgs=["--recheck"]`, `ecrMirrorSync.prefix="a"`} {
		if name() == name(set) {
			t.Errorf("with %s the Job keeps its name", set)
		}
	}
}

// action is what Kubernetes does when the container ends with a code, by the first rule
// that knows it.
func action(policy object, code int) any {
	for _, rule := range policy["rules"].([]any) {
		codes, _ := rule.(object).at("onExitCodes", "values").([]any)
		if slices.Contains(codes, any(code)) {
			return rule.(object)["action"]
		}
	}
	return "Count" // Kubernetes' own
}

func TestExitCodesMeanSomethingToKubernetes(t *testing.T) {
	for _, values := range []string{irsa, job, shards} {
		workload := render(t, values).one(workloads[values])
		policy := jobSpec(workload)["podFailurePolicy"].(object)
		for code, want := range map[int]string{
			1: "Count", 2: "Count", 3: "Count", 6: "Count", // a later run may do better
			10:  "FailJob",               // it fails the same way every time
			130: "Ignore", 143: "Ignore", // somebody else ended it
			137: "Count", // out of memory: again and again, perhaps
		} {
			if got := action(policy, code); got != want {
				t.Errorf("%s: exit code %d means %v, want %s", values, code, got, want)
			}
		}
		for _, rule := range policy["rules"].([]any) {
			if named := rule.(object).at("onExitCodes", "containerName"); named != nil && named != container(workload)["name"] {
				t.Errorf("%s: a rule is about the container %v, which the pod has not", values, named)
			}
		}
	}
	if got := jobSpec(render(t, irsa, "podFailurePolicy=null").one("CronJob"))["podFailurePolicy"]; got != nil {
		t.Errorf("without a policy there is %v", got)
	}
}
