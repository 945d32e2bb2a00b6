{{/* What the schema cannot say: values that do not go together. */}}
{{- define "ecr-mirror-sync.checks" -}}
{{- $own := .Values.ecrMirrorSync }}
{{- if not (or $own.policy $own.policyFrom.configMap $own.insecurePolicy) }}
{{- fail "say which images are trusted: set ecrMirrorSync.policy or ecrMirrorSync.policyFrom, or ecrMirrorSync.insecurePolicy to copy without checking signatures" }}
{{- end }}
{{- if and $own.policy $own.policyFrom.configMap }}
{{- fail "set ecrMirrorSync.policy or ecrMirrorSync.policyFrom.configMap, not both" }}
{{- end }}
{{- if gt (len (compact (list $own.config $own.configFrom.configMap $own.configFrom.secret))) 1 }}
{{- fail "set one of ecrMirrorSync.config, ecrMirrorSync.configFrom.configMap and ecrMirrorSync.configFrom.secret" }}
{{- end }}
{{- if gt (len (compact (list $own.sourceCreds $own.sourceCredsSecret.name $own.authSecret.name))) 1 }}
{{- fail "set one of ecrMirrorSync.sourceCreds, ecrMirrorSync.sourceCredsSecret.name and ecrMirrorSync.authSecret.name" }}
{{- end }}
{{- if and $own.sourceCredsFor (not (or $own.sourceCreds $own.sourceCredsSecret.name)) }}
{{- fail "ecrMirrorSync.sourceCredsFor names a registry, and no credentials are given for it" }}
{{- end }}
{{- if and .Values.caBundle.pem .Values.caBundle.configMap }}
{{- fail "set caBundle.pem or caBundle.configMap, not both" }}
{{- end }}
{{- $webhook := false }}
{{- range .Values.notify.receivers }}
{{- $webhook = or $webhook (eq .kind "webhook") }}
{{- end }}
{{- if and .Values.notify.signing.secret (not $webhook) }}
{{- fail "notify.signing signs webhooks, and notify.receivers has none" }}
{{- end }}
{{- if and .Values.tracing.headersSecret.name (not .Values.tracing.endpoint) }}
{{- fail "tracing.headersSecret is for a collector: set tracing.endpoint" }}
{{- end }}
{{- if eq .Values.mode "deployment" }}
{{- if gt (int .Values.shards) 1 }}
{{- fail "shards are for the modes cronjob and job: the daemon of mode deployment is one process" }}
{{- end }}
{{- if or .Values.metrics.pushgateway .Values.metrics.emf }}
{{- fail "metrics.pushgateway and metrics.emf are for runs that end; the daemon of mode deployment is scraped: set metrics.serviceMonitor.enabled or metrics.podMonitor.enabled" }}
{{- end }}
{{- if and .Values.metrics.serviceMonitor.enabled (not .Values.service.enabled) }}
{{- fail "metrics.serviceMonitor needs service.enabled; metrics.podMonitor does not" }}
{{- end }}
{{- else if or .Values.metrics.serviceMonitor.enabled .Values.metrics.podMonitor.enabled }}
{{- fail (printf "a run of mode %s ends before anybody scrapes it: set metrics.pushgateway or metrics.emf instead of a monitor" .Values.mode) }}
{{- end }}
{{- if and (gt (int .Values.shards) 1) (or .Values.state.volume .Values.state.location) }}
{{- fail "shards cannot share the state of pruning: prune with one process, such as a second release with shards 1" }}
{{- end }}
{{- end }}
