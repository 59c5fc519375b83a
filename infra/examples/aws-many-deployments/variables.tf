variable "zip_file" {
  description = "Path of the function's zip. null: what make package builds."
  type        = string
  default     = null
}

# One secret for all tokens: a JSON object with a key for each team. A secret of its own for each costs 0.40 $ a month, and a line in the role's policy.
variable "tokens_secret_arn" {
  description = "ARN of the secret that holds every team's API token, as in {\"team-01\": \"…\", \"team-02\": \"…\"}."
  type        = string
  default     = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:astro-AbCdEf"
}
