{{/* Of every pod, the workers' and the job's: settings as variables, secrets as files. */}}

{{/* A number goes through JSON: YAML's are floats here, and 20000000 would become 2e+07. */}}
{{- define "surgewatch.env" -}}
{{- range $name, $value := .Values.settings }}
- name: SURGEWATCH_{{ upper $name }}
  value: {{ kindIs "string" $value | ternary $value (toJson $value) | quote }}
{{- end }}
{{- range $name, $_ := .Values.secrets }}
- name: SURGEWATCH_{{ upper $name }}_FILE
  value: /etc/surgewatch/secrets/{{ $name }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "surgewatch.mounts" -}}
- name: tmp
  mountPath: /tmp
{{- if .Values.secrets }}
- name: secrets
  mountPath: /etc/surgewatch/secrets
  readOnly: true
{{- end }}
{{- if .Values.certificatesSecret }}
- name: certificates
  mountPath: /etc/surgewatch/certificates
  readOnly: true
{{- end }}
{{- end }}

{{- define "surgewatch.volumes" -}}
- name: tmp
  emptyDir: {sizeLimit: 64Mi}
{{- if .Values.secrets }}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
    {{- range $name, $from := .Values.secrets }}
    - secret:
        name: {{ $from.name }}
        items:
        - key: {{ $from.key }}
          path: {{ $name }}
    {{- end }}
{{- end }}
{{- with .Values.certificatesSecret }}
- name: certificates
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- end }}

{{- define "surgewatch.podSpec" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
{{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
{{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.nodeSelector }}
nodeSelector:
{{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
{{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
volumes:
{{- include "surgewatch.volumes" . | nindent 2 }}
{{- end }}

{{- define "surgewatch.container" -}}
image: {{ include "surgewatch.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
{{- toYaml .Values.securityContext | nindent 2 }}
volumeMounts:
{{- include "surgewatch.mounts" . | nindent 2 }}
{{- end }}
