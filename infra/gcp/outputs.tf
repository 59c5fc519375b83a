locals {
  fill_token_command = !local.create_secret ? null : join(" ", [
    "( read -rsp 'Astro API token: ' token && [ -n \"$token\" ] && printf %s \"$token\" |",
    "gcloud secrets versions add ${var.name}-token --project=${var.project} --data-file=- )",
  ])

  first_run_command = "gcloud scheduler jobs run ${google_cloud_scheduler_job.reconcile.name} --project=${var.project} --location=${google_cloud_scheduler_job.reconcile.region}"
}

output "next_commands" {
  description = "Bash commands to run after the first apply, in this order: store the token, run every route once."
  value       = concat(local.fill_token_command[*], [local.first_run_command])
}

output "fill_token_command" {
  description = "Bash command that asks for the Astro API token and stores it in the created secret; null with a token_secret of your own."
  value       = local.fill_token_command
}

output "first_run_command" {
  description = "Command that runs every route now."
  value       = local.first_run_command
}

output "log_command" {
  description = "Command that prints what the last runs did."
  value       = "gcloud logging read '${local.run_filter}' --project=${var.project} --limit=20 --format='value(timestamp, jsonPayload.route, jsonPayload.outcome, jsonPayload.reason)'"
}

output "dead_letters_command" {
  description = "Command that shows dead letters without removing them; null with Eventarc."
  value       = local.pubsub ? "gcloud pubsub subscriptions pull ${var.name}-dead-letters --project=${var.project} --limit=20" : null
}

output "connect_commands" {
  description = "Commands for the owner of each bucket with manage = false, by bucket: read rights for the function, and notifications."
  value = {
    for name, b in local.buckets : name => concat(
      ["gcloud storage buckets add-iam-policy-binding gs://${name} --member=${google_service_account.run.member} --role=roles/storage.objectViewer"],
      [for topic in google_pubsub_topic.events : join(" ", [
        "gcloud pubsub topics add-iam-policy-binding ${topic.name} --project=${var.project} --role=roles/pubsub.publisher",
        "--member=\"serviceAccount:$(gcloud storage service-agent --project=${coalesce(b.project, var.project)})\"",
      ])],
      [for topic in google_pubsub_topic.events : join(" ", [
        "gcloud storage buckets notifications create gs://${name} --topic=projects/${var.project}/topics/${topic.name} --payload-format=json",
        "--event-types=OBJECT_FINALIZE,OBJECT_DELETE,OBJECT_ARCHIVE",
      ])],
    ) if !b.manage
  }
}

output "prepare_commands" {
  description = "Commands to run once before the first apply with kms_key or Eventarc, in a project where these services were never used: they make Google's service agents."
  value = [
    for service in sort(setunion(
      local.kms ? ["artifactregistry", "cloudfunctions", "pubsub", "run", "secretmanager"] : [],
      local.eventarc ? ["eventarc", "pubsub"] : [],
    )) : "gcloud beta services identity create --project=${var.project} --service=${service}.googleapis.com"
  ]
}

output "required_apis" {
  description = "Google APIs that are needed; enable_apis enables them."
  value       = sort(local.required_apis)
}

output "config" {
  description = "Content of the configuration file, without addresses of webhooks."
  value       = replace(local.config, "/webhook:https:[^\"]*/", "webhook:https://not-shown.invalid")
}

output "config_url" {
  description = "URL of the configuration file, for DAGBUCKET_CONFIG of the command line."
  value       = local.config_url
}

output "function_name" {
  description = "Name of the function, and of its Cloud Run service."
  value       = google_cloudfunctions2_function.this.name
}

output "function_uri" {
  description = "Address of the function; only the trigger's service account may call it."
  value       = local.function_uri
}

output "state_bucket" {
  description = "Name of the state bucket."
  value       = google_storage_bucket.state.name
}

output "source_buckets" {
  description = "Names of the source buckets that were created."
  value       = sort([for b in google_storage_bucket.source : b.name])
}

output "token_secret" {
  description = "Secret that the Astro API token is read from, where a route names no other."
  value       = local.token_secret
}

output "topic" {
  description = "ID of the topic that buckets notify; null with Eventarc."
  value       = one(google_pubsub_topic.events[*].id)
}

output "subscription" {
  description = "ID of the subscription that calls the function; null with Eventarc."
  value       = one(google_pubsub_subscription.events[*].id)
}

output "dead_letters" {
  description = "ID of the subscription that keeps dead letters; null with Eventarc."
  value       = one(google_pubsub_subscription.dead_letters[*].id)
}

output "run_service_account" {
  description = "E-mail address of the function's service account."
  value       = google_service_account.run.email
}

output "build_service_account" {
  description = "E-mail address of the service account that builds the function."
  value       = google_service_account.build.email
}

output "trigger_service_account" {
  description = "E-mail address of the service account that calls the function."
  value       = google_service_account.trigger.email
}
