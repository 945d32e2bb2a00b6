{{/* What the pod of a run, of the daemon and of the test have in common. */}}
{{- define "ecr-mirror-sync.podSpec" -}}
serviceAccountName: {{ include "ecr-mirror-sync.serviceAccountName" . }}
# The program never calls the Kubernetes API. EKS mounts its own token for IAM.
automountServiceAccountToken: false
# Variables that begin with the name of a Service would look like flags to the program.
enableServiceLinks: false
terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.dnsPolicy }}
dnsPolicy: {{ . }}
{{- end }}
{{- with .Values.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumes:
  {{- include "ecr-mirror-sync.volumes" . | nindent 2 }}
{{- end }}

{{/* A container, without its list marker. Called with a dict: root and args. */}}
{{- define "ecr-mirror-sync.container" -}}
name: ecr-mirror-sync
image: {{ include "ecr-mirror-sync.image" .root | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
args:
  {{- .args | nindent 2 }}
{{- with include "ecr-mirror-sync.env" .root | trim }}
env:
  {{- . | nindent 2 }}
{{- end }}
{{- with .root.Values.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.securityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumeMounts:
  {{- include "ecr-mirror-sync.volumeMounts" .root | nindent 2 }}
{{- end }}

{{- define "ecr-mirror-sync.podMetadata" -}}
labels:
  {{- include "ecr-mirror-sync.labels" (dict "root" . "own" .Values.podLabels) | nindent 2 }}
annotations:
  {{- mustMergeOverwrite (dict "checksum/config" (include "ecr-mirror-sync.checksum" .)) .Values.podAnnotations | toYaml | nindent 2 }}
{{- end }}

{{/* True where the pods of a run are numbered. */}}
{{- define "ecr-mirror-sync.indexed" -}}
{{- if or (eq .Values.mode "job") (and (eq .Values.mode "cronjob") (gt (int .Values.shards) 1)) }}true{{ end }}
{{- end }}

{{/* The spec of a Job, for the modes cronjob and job. */}}
{{- define "ecr-mirror-sync.jobSpec" -}}
{{- if include "ecr-mirror-sync.indexed" . -}}
# Each pod finds its number in JOB_COMPLETION_INDEX, and takes that shard.
completionMode: Indexed
completions: {{ .Values.shards }}
parallelism: {{ .Values.parallelism | default .Values.shards }}
{{- if semverCompare ">=1.29-0" .Capabilities.KubeVersion.Version }}
backoffLimitPerIndex: {{ .Values.backoffLimitPerIndex }}
{{- if not (kindIs "invalid" .Values.maxFailedIndexes) }}
maxFailedIndexes: {{ .Values.maxFailedIndexes }}
{{- end }}
{{- else }}
backoffLimit: {{ mul .Values.backoffLimitPerIndex .Values.shards }}
{{- end }}
{{- else -}}
backoffLimit: {{ .Values.backoffLimit }}
{{- end }}
{{- with .Values.podFailurePolicy }}
podFailurePolicy:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if not (kindIs "invalid" .Values.activeDeadlineSeconds) }}
activeDeadlineSeconds: {{ .Values.activeDeadlineSeconds }}
{{- end }}
{{- if not (kindIs "invalid" .Values.ttlSecondsAfterFinished) }}
ttlSecondsAfterFinished: {{ .Values.ttlSecondsAfterFinished }}
{{- end }}
template:
  metadata:
    {{- include "ecr-mirror-sync.podMetadata" . | nindent 4 }}
  spec:
    restartPolicy: Never
    {{- include "ecr-mirror-sync.podSpec" . | nindent 4 }}
    containers:
      - {{- include "ecr-mirror-sync.container" (dict "root" . "args" (include "ecr-mirror-sync.args" .)) | nindent 8 | trimPrefix "\n       " }}
{{- end }}

{{/* A Job cannot be changed. The name differs with each upgrade and with each change of what
it would run, and Helm removes the Job before it. */}}
{{- define "ecr-mirror-sync.jobName" -}}
{{- $run := printf "%d\n%s" (int .Release.Revision) (include "ecr-mirror-sync.jobSpec" .) | sha256sum | trunc 8 -}}
{{ include "ecr-mirror-sync.fullname" . }}-{{ $run }}
{{- end }}
