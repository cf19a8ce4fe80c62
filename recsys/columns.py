"""The only spelling of every column name."""


class Columns:
    """Column names shared by tables in PostgreSQL, Parquet files and frames in memory."""

    User = "user_id"
    Item = "item_id"
    Rating = "rating"
    Weight = "weight"
    Score = "score"
    Rank = "rank"
    PredictedRating = "predicted_rating"
    ArrivedOn = "arrived_on"
    BatchId = "batch_id"
    Status = "status"
    GivenAt = "given_at"

    UserItem = [User, Item]
    Interactions = [User, Item, Rating]
    Statuses = [User, Item, Status]


class ItemColumns:
    """Columns of the catalog, one row per title; what MAL calls them is translated once, in `data.sources`."""

    Title = "title"
    TitleEnglish = "title_english"
    TitleJapanese = "title_japanese"
    Synonyms = "synonyms"
    Genres = "genres"
    Studios = "studios"
    Type = "type"
    Source = "source"
    AgeRating = "age_rating"
    Episodes = "episodes"
    DurationMinutes = "duration_minutes"
    AiredFrom = "aired_from"
    AiredTo = "aired_to"
    MeanScore = "mean_score"
    Ranked = "ranked"
    Popularity = "popularity"
    Members = "members"
    Favorites = "favorites"
    Watching = "watching"
    Completed = "completed"
    OnHold = "on_hold"
    Dropped = "dropped"
    PlanToWatch = "plan_to_watch"
    Synopsis = "synopsis"

    ScoreCounts = [f"score_{value}" for value in range(1, 11)]
    Audience = [Members, Favorites, Watching, Completed, OnHold, Dropped, PlanToWatch]
    Numericals = [MeanScore, Episodes, DurationMinutes, Ranked, Popularity, *Audience, *ScoreCounts]
    Texts = [Title, TitleEnglish, TitleJapanese, Type, Source, AgeRating, Synopsis]
    Lists = [Synonyms, Genres, Studios]
    Dates = [AiredFrom, AiredTo]
    All = [Columns.Item, *Texts, *Lists, *Dates, *Numericals]
