mock_provider "google" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  project  = "acme-data"
  region   = "europe-west1"
  zip_file = "tests/function.zip"
  routes = [{
    name       = "prod"
    deployment = "clmh57jtm000008lb58fe2wmv"
    sources    = [{ url = "gs://acme-dags/dags/" }]
  }]
}

run "function" {
  command = plan

  assert {
    condition     = google_cloudfunctions2_function.this.name == "dagbucket" && google_cloudfunctions2_function.this.location == "europe-west1"
    error_message = "The function has the module's name and region."
  }

  assert {
    condition     = google_cloudfunctions2_function.this.build_config[0].runtime == "go126" && google_cloudfunctions2_function.this.build_config[0].entry_point == "Dagbucket"
    error_message = "The function is built with Go 1.26, and enters at Dagbucket."
  }

  assert {
    condition     = endswith(google_cloudfunctions2_function.this.build_config[0].service_account, "serviceAccounts/dagbucket-build@acme-data.iam.gserviceaccount.com")
    error_message = "Builds run as an account of their own, not as the default one, which may do everything."
  }

  assert {
    condition     = google_cloudfunctions2_function.this.build_config[0].docker_repository == "projects/acme-data/locations/europe-west1/repositories/dagbucket"
    error_message = "Images go to the module's repository."
  }

  assert {
    condition     = google_cloudfunctions2_function.this.service_config[0].service_account_email == "dagbucket-run@acme-data.iam.gserviceaccount.com"
    error_message = "The function runs as an account of its own."
  }

  assert {
    condition     = google_cloudfunctions2_function.this.service_config[0].timeout_seconds == 540 && google_cloudfunctions2_function.this.service_config[0].environment_variables.CLOUD_RUN_TIMEOUT_SECONDS == "540"
    error_message = "The program must know the function's time-out."
  }

  assert {
    condition = (
      google_cloudfunctions2_function.this.service_config[0].available_memory == "512Mi" && google_cloudfunctions2_function.this.service_config[0].available_cpu == "1" &&
      google_cloudfunctions2_function.this.service_config[0].max_instance_request_concurrency == 80 && google_cloudfunctions2_function.this.service_config[0].max_instance_count == 10 &&
      google_cloudfunctions2_function.this.service_config[0].min_instance_count == 0
    )
    error_message = "Size and concurrency: nothing is kept warm, and requests for a route can share runs."
  }

  assert {
    condition     = google_cloudfunctions2_function.this.service_config[0].ingress_settings == "ALLOW_INTERNAL_ONLY"
    error_message = "The internet cannot reach the function."
  }

  assert {
    condition     = google_cloudfunctions2_function.this.service_config[0].all_traffic_on_latest_revision
    error_message = "A new configuration takes over at once."
  }

  assert {
    condition     = google_cloudfunctions2_function.this.service_config[0].environment_variables.DAGBUCKET_CONFIG == "gs://acme-data-dagbucket-state/dagbucket.yaml"
    error_message = "The function finds its configuration."
  }

  assert {
    condition     = google_cloudfunctions2_function.this.service_config[0].environment_variables.CONFIG_SHA256 == sha256(google_storage_bucket_object.config.content)
    error_message = "A change of the configuration starts new instances."
  }

  assert {
    condition     = sort(keys(google_cloudfunctions2_function.this.service_config[0].environment_variables)) == tolist(["CLOUD_RUN_TIMEOUT_SECONDS", "CONFIG_SHA256", "DAGBUCKET_CONFIG"])
    error_message = "Nothing else is in the environment, no token above all."
  }

  assert {
    condition     = length(google_cloudfunctions2_function.this.service_config[0].secret_environment_variables) == 0 && length(google_cloudfunctions2_function.this.event_trigger) == 0
    error_message = "The token is read at run time, and the function is an HTTP function."
  }
}

run "package" {
  command = plan

  assert {
    condition     = google_storage_bucket_object.code[0].name == ".code/cloudfunction-${filesha256("tests/function.zip")}.zip"
    error_message = "The package is named by its hash, so that only a new one changes the function."
  }

  assert {
    condition     = google_storage_bucket_object.code[0].source_md5hash == filemd5("tests/function.zip")
    error_message = "The content decides whether it is uploaded anew."
  }

  assert {
    condition     = google_cloudfunctions2_function.this.build_config[0].source[0].storage_source[0].object == google_storage_bucket_object.code[0].name && google_cloudfunctions2_function.this.build_config[0].source[0].storage_source[0].generation == 1764061809000000
    error_message = "The function is built from exactly the package that was uploaded."
  }

  assert {
    condition     = google_artifact_registry_repository.this.format == "DOCKER" && length(google_artifact_registry_repository.this.cleanup_policies) == 2
    error_message = "Old images are removed."
  }
}

run "package_in_a_bucket" {
  command = plan

  variables {
    zip_file = null
    zip_gcs  = { bucket = "acme-code", object = "releases/cloudfunction.zip", generation = 1764000000000000 }
  }

  assert {
    condition     = length(google_storage_bucket_object.code) == 0 && length(google_storage_bucket_iam_member.build_code) == 0
    error_message = "Nothing is uploaded."
  }

  assert {
    condition     = google_cloudfunctions2_function.this.build_config[0].source[0].storage_source[0].bucket == "acme-code" && google_cloudfunctions2_function.this.build_config[0].source[0].storage_source[0].generation == 1764000000000000
    error_message = "The function is built from the package that was named."
  }
}

run "state" {
  command = plan

  assert {
    condition     = google_storage_bucket.state.name == "acme-data-dagbucket-state" && google_storage_bucket.state.location == "EUROPE-WEST1"
    error_message = "The state lies in a bucket of its own, in the function's region."
  }

  assert {
    condition     = google_storage_bucket.state.public_access_prevention == "enforced" && google_storage_bucket.state.uniform_bucket_level_access
    error_message = "The state cannot be made public."
  }

  assert {
    condition     = google_storage_bucket.state.versioning[0].enabled && google_storage_bucket.state.soft_delete_policy[0].retention_duration_seconds == 0 && !google_storage_bucket.state.force_destroy
    error_message = "Overwritten state can be restored, once and not twice, and a destroy never empties the bucket."
  }

  assert {
    condition = alltrue([
      for rule in google_storage_bucket.state.lifecycle_rule :
      one(rule.action).type == "AbortIncompleteMultipartUpload" || one(rule.action).type == "Delete" && one(rule.condition).with_state == "ARCHIVED" && one(rule.condition).days_since_noncurrent_time == 7
    ])
    error_message = "No rule deletes a live object."
  }

  assert {
    condition     = length(google_storage_bucket.source) == 0
    error_message = "An existing bucket is not a resource of the module."
  }
}

run "token" {
  command = plan

  assert {
    condition     = google_secret_manager_secret.token[0].secret_id == "dagbucket-token" && length(google_secret_manager_secret.token[0].replication[0].auto) == 1
    error_message = "An empty secret is made; Google chooses where its copies are."
  }

  assert {
    condition     = output.fill_token_command == "( read -rsp 'Astro API token: ' token && [ -n \"$token\" ] && printf %s \"$token\" | gcloud secrets versions add dagbucket-token --project=acme-data --data-file=- )"
    error_message = "The command that fills the secret keeps the token off the command line."
  }

  assert {
    condition     = output.first_run_command == "gcloud scheduler jobs run dagbucket-reconcile --project=acme-data --location=europe-west1"
    error_message = "The command that runs it now."
  }

  assert {
    condition     = output.next_commands == [output.fill_token_command, output.first_run_command] && length(output.eventarc_commands) == 0
    error_message = "Nothing else is to be done."
  }

  assert {
    condition     = output.empty_state_command == "gcloud storage rm --recursive --all-versions \"gs://acme-data-dagbucket-state/**\""
    error_message = "The command that empties the state, before a destroy."
  }
}

run "token_exists" {
  command = plan

  variables {
    token_secret = "projects/acme-secrets/secrets/astro"
  }

  assert {
    condition     = length(google_secret_manager_secret.token) == 0 && output.fill_token_command == null
    error_message = "No secret is made."
  }

  assert {
    condition     = google_secret_manager_secret_iam_member.run[""].project == "acme-secrets" && google_secret_manager_secret_iam_member.run[""].secret_id == "astro" && google_secret_manager_secret_iam_member.run[""].role == "roles/secretmanager.secretAccessor"
    error_message = "The function may read the secret that was named."
  }

  assert {
    condition     = yamldecode(google_storage_bucket_object.config.content).routes[0].token == "gcp-sm:projects/acme-secrets/secrets/astro/versions/latest"
    error_message = "The configuration refers to it."
  }
}

run "token_with_copies" {
  command = plan

  variables {
    token_secret_locations = ["europe-west1", "europe-west4"]
  }

  assert {
    condition     = google_secret_manager_secret.token[0].replication[0].user_managed[0].replicas[*].location == tolist(["europe-west1", "europe-west4"])
    error_message = "The secret is copied to the regions that were named."
  }
}

run "size" {
  command = plan

  variables {
    memory        = "2Gi"
    cpu           = "2"
    timeout       = 300
    concurrency   = 20
    min_instances = 1
    max_instances = 3
    ingress       = "ALLOW_ALL"
    runtime       = "go127"
    astro_api_url = "https://api.astronomer-stage.io/v1"
    labels        = { team = "data" }
  }

  assert {
    condition = (
      google_cloudfunctions2_function.this.service_config[0].available_memory == "2Gi" && google_cloudfunctions2_function.this.service_config[0].available_cpu == "2" &&
      google_cloudfunctions2_function.this.service_config[0].timeout_seconds == 300 && google_cloudfunctions2_function.this.service_config[0].max_instance_request_concurrency == 20 &&
      google_cloudfunctions2_function.this.service_config[0].min_instance_count == 1 && google_cloudfunctions2_function.this.service_config[0].max_instance_count == 3 &&
      google_cloudfunctions2_function.this.service_config[0].ingress_settings == "ALLOW_ALL" && google_cloudfunctions2_function.this.build_config[0].runtime == "go127"
    )
    error_message = "Each setting arrives."
  }

  assert {
    condition     = google_cloud_scheduler_job.reconcile.attempt_deadline == "300s" && google_cloudfunctions2_function.this.service_config[0].environment_variables.CLOUD_RUN_TIMEOUT_SECONDS == "300"
    error_message = "The time-out is everywhere the same."
  }

  assert {
    condition     = google_cloudfunctions2_function.this.service_config[0].environment_variables.ASTRO_API_URL == "https://api.astronomer-stage.io/v1"
    error_message = "The API's address arrives."
  }

  assert {
    condition = alltrue([
      for labels in [
        google_cloudfunctions2_function.this.labels, google_storage_bucket.state.labels, google_pubsub_topic.events[0].labels, google_pubsub_topic.dead_letters[0].labels,
        google_pubsub_subscription.events[0].labels, google_pubsub_subscription.dead_letters[0].labels, google_secret_manager_secret.token[0].labels,
        google_artifact_registry_repository.this.labels, google_monitoring_alert_policy.query["failed-runs"].user_labels, google_monitoring_alert_policy.threshold["errors"].user_labels,
      ] : labels.team == "data"
    ])
    error_message = "Labels are everywhere."
  }
}

run "vpc_connector" {
  command = plan

  variables {
    vpc = { connector = "projects/acme-data/locations/europe-west1/connectors/acme", all_traffic = true }
  }

  assert {
    condition     = google_cloudfunctions2_function.this.service_config[0].vpc_connector_egress_settings == "ALL_TRAFFIC" && length(google_cloudfunctions2_function.this.service_config[0].direct_vpc_network_interface) == 0
    error_message = "The connector takes all traffic."
  }
}

run "vpc_direct" {
  command = plan

  variables {
    vpc = { network = "acme", subnetwork = "functions", tags = ["dagbucket"] }
  }

  assert {
    condition     = google_cloudfunctions2_function.this.service_config[0].direct_vpc_egress == "VPC_EGRESS_PRIVATE_RANGES_ONLY" && google_cloudfunctions2_function.this.service_config[0].direct_vpc_network_interface[0].subnetwork == "functions"
    error_message = "Private addresses are reached through the network."
  }

  assert {
    condition     = google_cloudfunctions2_function.this.service_config[0].vpc_connector == null
    error_message = "There is no connector beside it."
  }
}

run "apis" {
  command = plan

  assert {
    condition     = toset(keys(google_project_service.this)) == toset(output.required_apis) && !contains(output.required_apis, "eventarc.googleapis.com") && !contains(output.required_apis, "cloudkms.googleapis.com")
    error_message = "The APIs that are needed are enabled, and no others."
  }

  assert {
    condition     = alltrue([for api in google_project_service.this : !api.disable_on_destroy])
    error_message = "A destroy takes no API from others."
  }
}

run "apis_left_alone" {
  command = plan

  variables {
    enable_apis = false
  }

  assert {
    condition     = length(google_project_service.this) == 0 && length(output.required_apis) == 12
    error_message = "Nothing is enabled, but listed."
  }
}

run "name_too_long" {
  command = plan

  variables {
    project = "acme-data-platform-production1"
    name    = "dagbucket-in-production"
  }

  expect_failures = [var.name]
}

run "names_within_limits" {
  command = plan

  variables {
    project = "acme-data-platform-production1"
    name    = "dagbucket-production-1"
  }

  assert {
    condition = alltrue([
      for account in [google_service_account.run, google_service_account.build, google_service_account.trigger] : length(account.account_id) >= 6 && length(account.account_id) <= 30
    ])
    error_message = "Service accounts have 6 to 30 characters."
  }

  assert {
    condition     = length(google_storage_bucket.state.name) <= 63 && length(google_cloudfunctions2_function.this.name) <= 63
    error_message = "Buckets and functions have at most 63 characters."
  }
}

run "logs_of_its_own" {
  command = plan

  variables {
    log_retention_days = 90
  }

  assert {
    condition     = google_logging_project_bucket_config.this[0].retention_days == 90 && google_logging_project_sink.this[0].destination == "logging.googleapis.com/projects/acme-data/locations/europe-west1/buckets/dagbucket-function-log" && google_logging_project_bucket_config.this[0].bucket_id == "dagbucket-function-log"
    error_message = "The log is kept as long as asked, in a bucket whose name nothing else takes."
  }

  assert {
    condition     = strcontains(google_logging_project_sink.this[0].filter, "resource.labels.service_name=\"dagbucket\"")
    error_message = "It holds this function's lines alone."
  }
}

run "logs_left_alone" {
  command = plan

  assert {
    condition     = length(google_logging_project_bucket_config.this) == 0 && length(google_logging_project_sink.this) == 0
    error_message = "The project's own setting holds."
  }
}
