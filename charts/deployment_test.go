package charts_test

import (
	"strings"
	"testing"
)

func TestOneDaemonAtATime(t *testing.T) {
	for set, replicas := range map[string]int{"suspend=false": 1, "suspend=true": 0} {
		spec := render(t, deployment, set).one("Deployment")["spec"].(object)
		if spec["replicas"] != replicas || spec.at("strategy", "type") != "Recreate" {
			t.Errorf("%s: %v replicas, replaced by %v", set, spec["replicas"], spec.at("strategy", "type"))
		}
	}
}

// Probes, the Service and both monitors name the container's port.
func TestPortsMeetTheContainers(t *testing.T) {
	all := render(t, deployment)
	container := container(all.one("Deployment"))
	port := container.at("ports", 0, "name")
	if got := container.at("ports", 0, "containerPort"); got != 8080 {
		t.Errorf("the container's port is %v, and the program listens on 8080", got)
	}
	for _, tt := range []struct {
		what string
		got  any
		want any
	}{
		{"livenessProbe", container.at("livenessProbe", "httpGet", "port"), port},
		{"readinessProbe", container.at("readinessProbe", "httpGet", "port"), port},
		{"startupProbe", container.at("startupProbe", "httpGet", "port"), port},
		{"Service", all.one("Service").at("spec", "ports", 0, "targetPort"), port},
		{"PodMonitor", all.one("PodMonitor").at("spec", "podMetricsEndpoints", 0, "port"), port},
		{"NetworkPolicy", all.one("NetworkPolicy").at("spec", "ingress", 0, "ports", 0, "port"), port},
		{"ServiceMonitor", all.one("ServiceMonitor").at("spec", "endpoints", 0, "port"), all.one("Service").at("spec", "ports", 0, "name")},
	} {
		if tt.got == nil || tt.got != tt.want {
			t.Errorf("%s names the port %v, want %v", tt.what, tt.got, tt.want)
		}
	}
}

// What selects pods selects those of the release, which carry the labels.
func TestSelectorsMeetThePods(t *testing.T) {
	all := render(t, deployment)
	labels := all.one("Deployment").at("spec", "template", "metadata", "labels").(object)
	for what, selector := range map[string]any{
		"Deployment":     all.one("Deployment").at("spec", "selector", "matchLabels"),
		"Service":        all.one("Service").at("spec", "selector"),
		"PodMonitor":     all.one("PodMonitor").at("spec", "selector", "matchLabels"),
		"NetworkPolicy":  all.one("NetworkPolicy").at("spec", "podSelector", "matchLabels"),
		"ServiceMonitor": all.one("ServiceMonitor").at("spec", "selector", "matchLabels"), // of the Service, which has the same
	} {
		if len(selector.(object)) != 2 {
			t.Errorf("%s selects %v", what, selector)
		}
		for key, value := range selector.(object) {
			if labels[key] != value {
				t.Errorf("%s selects %s: %v, and the pods have %v", what, key, value, labels[key])
			}
		}
	}
}

// The daemon follows its configuration file, and the other modes begin anew with each run.
func TestChecksumChangesWithWhatIsReadOnce(t *testing.T) {
	checksum := func(values string, set ...string) any {
		workload := render(t, values, set...).one(workloads[values])
		if values == deployment {
			return workload.at("spec", "template", "metadata", "annotations", "checksum/config")
		}
		return jobSpec(workload).at("template", "metadata", "annotations", "checksum/config")
	}
	const (
		file   = `ecrMirrorSync={"config":"a","configFrom":{"secret":""}}`
		other  = `ecrMirrorSync={"config":"b","configFrom":{"secret":""}}`
		policy = `ecrMirrorSync={"config":"a","configFrom":{"secret":""},"policy":{"default":[]},"policyFrom":{"configMap":""}}`
	)
	if checksum(irsa, file) == checksum(irsa, other) {
		t.Error("a run has the checksum of another configuration file")
	}
	if checksum(deployment, file) != checksum(deployment, other) {
		t.Error("the daemon starts again for a configuration file that it would have read")
	}
	if checksum(deployment, file) == checksum(deployment, policy) {
		t.Error("the daemon goes on with the policy of before")
	}
}

// Clouds keep credentials at link-local addresses: those that are meant are named.
func TestNetworkPolicyNamesTheMetadataServices(t *testing.T) {
	egress := func(set ...string) string {
		var said strings.Builder
		for _, rule := range render(t, deployment, set...).one("NetworkPolicy").at("spec", "egress").([]any) {
			to, _ := rule.(object)["to"].([]any)
			for _, peer := range to {
				block := peer.(object)["ipBlock"].(object)
				said.WriteString(block["cidr"].(string))
				except, _ := block["except"].([]any)
				for _, cidr := range except {
					said.WriteString("-" + cidr.(string))
				}
				said.WriteString(" ")
			}
		}
		return strings.TrimSpace(said.String())
	}
	const (
		https       = "0.0.0.0/0-169.254.0.0/16 ::/0-fd00:ec2::/32-fe80::/10"
		podIdentity = " 169.254.170.23/32 fd00:ec2::23/128"
		imds        = " 169.254.169.254/32 fd00:ec2::254/128"
	)
	for set, want := range map[string]string{
		`networkPolicy.imds=false`: https + podIdentity,
		`networkPolicy.imds=true`:  https + podIdentity + imds,
		`networkPolicy={"enabled":true,"podIdentity":false,"httpsTo":["10.0.0.0/8"]}`: "10.0.0.0/8",
	} {
		if got := egress(set); got != want {
			t.Errorf("%s: egress to %s, want %s", set, got, want)
		}
	}
}
