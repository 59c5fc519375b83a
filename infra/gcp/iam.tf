# Every grant adds one member to one role; what others were granted stays.

resource "google_service_account" "run" {
  project      = var.project
  account_id   = "${var.name}-run"
  display_name = "${var.name}: the function"

  depends_on = [google_project_service.this]
}

resource "google_service_account" "build" {
  project      = var.project
  account_id   = "${var.name}-build"
  display_name = "${var.name}: builds of the function"

  depends_on = [google_project_service.this]
}

resource "google_service_account" "trigger" {
  project      = var.project
  account_id   = "${var.name}-trigger"
  display_name = "${var.name}: calls the function"

  depends_on = [google_project_service.this]
}

# The function reads its sources, writes its state and reads exactly the secrets that are referenced.

resource "google_storage_bucket_iam_member" "run_source" {
  for_each = local.managed_buckets

  bucket = local.buckets[each.key].create ? google_storage_bucket.source[each.key].name : each.key
  role   = "roles/storage.objectViewer"
  member = google_service_account.run.member
}

resource "google_storage_bucket_iam_member" "run_state" {
  bucket = google_storage_bucket.state.name
  role   = "roles/storage.objectUser"
  member = google_service_account.run.member
}

# To write over a page it must be deleted, which no role for creating allows; so this one, on the pages alone. Conditions need uniform access.
resource "google_storage_bucket_iam_member" "run_status" {
  for_each = { for key, grant in local.status_grants : key => grant if try(local.buckets[grant.bucket].manage, true) }

  bucket = try(google_storage_bucket.source[each.value.bucket].name, each.value.bucket)
  role   = "roles/storage.objectUser"
  member = google_service_account.run.member

  condition {
    title      = "status-pages-${split("/", each.key)[1]}"
    expression = each.value.expression
  }
}

resource "google_pubsub_topic_iam_member" "run_notify" {
  for_each = local.notify_topics

  project = split("/", each.key)[1]
  topic   = split("/", each.key)[3]
  role    = "roles/pubsub.publisher"
  member  = google_service_account.run.member

  depends_on = [google_project_service.this]
}

# To name this project as the one that pays.
resource "google_project_iam_member" "run_pays" {
  count = anytrue([for b in local.buckets : b.requester_pays]) ? 1 : 0

  project = var.project
  role    = "roles/serviceusage.serviceUsageConsumer"
  member  = google_service_account.run.member
}

locals {
  # By secret, not by route: a grant that routes share stays while one of them does. "" is token_secret, whose ID may be unknown at plan.
  secrets = merge(
    { for secret in toset([for r in var.routes : split("/versions/", trimprefix(r.token, "gcp-sm:"))[0] if r.token != null]) : secret => secret },
    { for secret in local.notify_secrets : secret => secret },
    { for key in toset([for r in var.routes : "" if r.token == null]) : key => local.token_secret },
  )
}

resource "google_secret_manager_secret_iam_member" "run" {
  for_each = local.secrets

  project   = split("/", each.value)[1]
  secret_id = each.key == "" && local.create_secret ? google_secret_manager_secret.token[0].secret_id : split("/", each.value)[3]
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.run.member
}

# Pub/Sub, Eventarc and Cloud Scheduler call this one service, and nobody else may.

resource "google_cloud_run_v2_service_iam_member" "trigger" {
  project  = var.project
  location = var.region
  name     = google_cloudfunctions2_function.this.name
  role     = "roles/run.invoker"
  member   = google_service_account.trigger.member

  lifecycle {
    # A new service has the old one's name, but not its grants.
    replace_triggered_by = [google_cloudfunctions2_function.this.id]
  }
}

# Pub/Sub's agent makes the tokens of pushes. Projects younger than April 2021 have granted it that for every account, older ones have not.
resource "google_service_account_iam_member" "pubsub_token" {
  service_account_id = google_service_account.trigger.name
  role               = "roles/iam.serviceAccountOpenIdTokenCreator"
  member             = local.agents.pubsub

  # The agent is there once Pub/Sub was used.
  depends_on = [google_pubsub_topic.events, google_eventarc_trigger.this]
}

# A build reads its source, writes its log and stores its image.

resource "google_project_iam_member" "build" {
  for_each = {
    log = { role = "roles/logging.logWriter", condition = null }
    # Google copies the source into a bucket that it makes at a project's first build, so no grant on the bucket itself can be made before.
    source = {
      role = "roles/storage.objectViewer"
      condition = {
        title      = "source-of-functions"
        expression = "resource.name.startsWith(\"projects/_/buckets/gcf-v2-sources-${local.project_number}-${var.region}\")"
      }
    }
  }

  project = var.project
  role    = each.value.role
  member  = google_service_account.build.member

  dynamic "condition" {
    for_each = each.value.condition == null ? [] : [each.value.condition]

    content {
      title      = condition.value.title
      expression = condition.value.expression
    }
  }
}

# The build may read the package, but not the state beside it.
resource "google_storage_bucket_iam_member" "build_code" {
  count = local.upload ? 1 : 0

  bucket = google_storage_bucket.state.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.build.member

  condition {
    title      = "code"
    expression = "resource.name.startsWith(\"projects/_/buckets/${google_storage_bucket.state.name}/objects/.code/\")"
  }
}

resource "google_artifact_registry_repository_iam_member" "build" {
  project    = var.project
  location   = var.region
  repository = google_artifact_registry_repository.this.repository_id
  role       = "roles/artifactregistry.writer"
  member     = google_service_account.build.member
}

# Google spreads a grant over a minute or two, and a build or a trigger that comes sooner fails. Terraform knows the order, but not the wait, hence a sleep
# whenever one of these grants is made anew.
resource "terraform_data" "grants_settle" {
  count = var.settle_seconds > 0 ? 1 : 0

  triggers_replace = concat(
    [for grant in google_project_iam_member.build : grant.id],
    google_storage_bucket_iam_member.build_code[*].id,
    [google_artifact_registry_repository_iam_member.build.id],
    [for grant in google_kms_crypto_key_iam_member.storage : grant.id],
    [for grant in google_kms_crypto_key_iam_member.agents : grant.id],
    google_project_iam_member.storage_publishes[*].id,
    google_project_iam_member.trigger_receives[*].id,
  )

  provisioner "local-exec" {
    command = "sleep ${var.settle_seconds}"
  }
}

# Google's own accounts that act in this project.

# Asking for Cloud Storage's agent makes it.
data "google_storage_project_service_account" "this" {
  project = var.project
}

# Those of other projects with source buckets.
data "google_storage_project_service_account" "others" {
  for_each = toset([for name in local.source_buckets : local.buckets[name].project if local.buckets[name].project != null])

  project = each.key
}

locals {
  agents = {
    storage          = data.google_storage_project_service_account.this.member
    pubsub           = "serviceAccount:service-${local.project_number}@gcp-sa-pubsub.iam.gserviceaccount.com"
    secretmanager    = "serviceAccount:service-${local.project_number}@gcp-sa-secretmanager.iam.gserviceaccount.com"
    artifactregistry = "serviceAccount:service-${local.project_number}@gcp-sa-artifactregistry.iam.gserviceaccount.com"
    functions        = "serviceAccount:service-${local.project_number}@gcf-admin-robot.iam.gserviceaccount.com"
    run              = "serviceAccount:service-${local.project_number}@serverless-robot-prod.iam.gserviceaccount.com"
    eventarc         = "serviceAccount:service-${local.project_number}@gcp-sa-eventarc.iam.gserviceaccount.com"
  }
  # Keys of created buckets beside kms_key. With use_kms_key the plan may not know kms_key, and so cannot compare.
  other_keys = toset([
    for b in local.buckets : b.kms_key if b.kms_key == null ? false : b.kms_key != (var.use_kms_key == true ? null : var.kms_key)
  ])
  key_users = toset(concat(
    # Google asks for Eventarc's with every function, even if no event comes that way.
    ["artifactregistry", "eventarc", "functions", "run"],
    local.pubsub ? ["pubsub"] : [],
    local.create_secret ? ["secretmanager"] : [],
  ))
}

# Cloud Storage's comes first: the project's number, which the others are named by, is read off the state bucket.
# By key, not by bucket: a grant that buckets share stays while one of them does.
resource "google_kms_crypto_key_iam_member" "storage" {
  for_each = {
    for use, key in merge(
      { for use in toset(local.kms ? ["state"] : []) : use => var.kms_key },
      { for key in local.other_keys : key => key },
    ) : use => key if var.kms_grants
  }

  crypto_key_id = each.value
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = data.google_storage_project_service_account.this.member

  depends_on = [google_project_service.this]
}

resource "google_kms_crypto_key_iam_member" "agents" {
  for_each = toset([for agent in local.key_users : agent if local.kms && var.kms_grants])

  crypto_key_id = var.kms_key
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = local.agents[each.key]

  depends_on = [google_project_service.this]
}
