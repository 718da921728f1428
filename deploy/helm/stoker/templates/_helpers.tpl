{{- define "stoker.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains "stoker" .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-stoker" (.Release.Name | trunc 45 | trimSuffix "-") -}}
{{- end -}}
{{- end -}}

{{- define "stoker.selector" -}}
app.kubernetes.io/name: stoker
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "stoker.labels" -}}
{{ include "stoker.selector" . }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "stoker.metadata" -}}
name: {{ include "stoker.fullname" . }}
labels:
  {{- include "stoker.labels" . | nindent 2 }}
{{- end -}}

{{- define "stoker.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (.Values.serviceAccount.create | ternary (include "stoker.fullname" .) "default") -}}
{{- end -}}

{{- define "stoker.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}{{- else -}}{{ .repository }}:{{ .tag }}{{- end -}}
{{- end -}}
{{- end -}}

{{- define "stoker.claim" -}}
{{- .Values.cache.existingClaim | default (include "stoker.fullname" .) -}}
{{- end -}}

{{/* "true" where there are or may be several pods. */}}
{{- define "stoker.several" -}}
{{- if or .Values.autoscaling.enabled (gt (int .Values.replicas) 1) -}}true{{- end -}}
{{- end -}}

{{- define "stoker.hosts" -}}
{{- concat .Values.allowedHosts (.Values.ingress.enabled | ternary .Values.ingress.hosts list) | uniq | join "," -}}
{{- end -}}

{{/* A GPU or, with one node's cache, a volume has no second place for a new pod beside the old one. */}}
{{- define "stoker.strategy" -}}
{{- if .Values.autoscaling.enabled -}}
type: RollingUpdate
rollingUpdate: {maxSurge: 1, maxUnavailable: 0}
{{- else if not (include "stoker.several" .) -}}
type: Recreate
{{- else if .Values.resources.gpus -}}
type: RollingUpdate
rollingUpdate: {maxSurge: 0, maxUnavailable: 1}
{{- else -}}
type: RollingUpdate
rollingUpdate: {maxSurge: 1, maxUnavailable: 0}
{{- end -}}
{{- end -}}

{{- define "stoker.probe" -}}
httpGet:
  path: {{ .path }}
  port: 8000
periodSeconds: {{ int .timing.periodSeconds }}
timeoutSeconds: {{ int .timing.timeoutSeconds }}
failureThreshold: {{ int .timing.failureThreshold }}
{{- end -}}
